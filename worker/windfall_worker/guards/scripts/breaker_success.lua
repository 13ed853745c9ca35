-- A call succeeded. Only the probe's success changes anything.
if mine then become("closed") end
return answer(mine and 1 or 0)
