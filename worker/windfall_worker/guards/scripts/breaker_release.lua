-- The probe ended without saying anything about the backend: the next call may be the probe.
if mine then free_probe() end
return answer(mine and 1 or 0)
