-- What the breaker is, changing nothing. 0 there is none of this name, 1 this it is, 2 and a person holds it open.
if not known then return answer(0) end
return answer(state == "open" and open_until == HELD and 2 or 1)
