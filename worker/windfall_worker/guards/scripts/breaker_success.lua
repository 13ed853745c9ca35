-- A call ended well. Only the probe's word changes anything.
if mine then become("closed") end
return answer(mine and 1 or 0)
