-- The probe is still in progress. 0: it is no longer the fleet's probe.
if mine then lend_probe() end
return answer(mine and 1 or 0)
