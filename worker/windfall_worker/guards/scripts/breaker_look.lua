-- Reads the breaker without changing it. 0 there is no breaker of this name, 1 there is, 2 a person holds it open.
if not known then return answer(0) end
return answer(state == "open" and open_until == HELD and 2 or 1)
