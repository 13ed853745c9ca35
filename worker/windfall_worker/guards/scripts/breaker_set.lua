-- A person sets the breaker: ARGV[2] is the new state, ARGV[6] for how long, or 0 for until it is closed by hand.
if not known then return answer(0) end
become(token)
if token == "open" and reset_timeout == 0 then
  open_until = HELD
  remember()
end
return answer(1)
