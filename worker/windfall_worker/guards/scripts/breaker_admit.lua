-- Whether a call may be made: 0 no, 1 yes, 2 yes, as the fleet's only probe.
if not known then remember() end
if state == "closed" then return answer(1) end
if state == "open" and (open_until == HELD or now < open_until) then return answer(0) end
if state == "half-open" and holder ~= "" and now < lease_until then return answer(0) end
if state == "open" then become("half-open") end
lend_probe()
return answer(2)
