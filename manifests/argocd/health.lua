-- The health of a Platform of guard.gostoa.dev, from the conditions that Flux reads by kstatus.
local health = { status = "Progressing", message = "the guard has not looked at it yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local function is(name, status)
  return conditions[name] ~= nil and conditions[name].status == status
end

if is("Stalled", "True") then
  -- It does not go on by itself.
  return { status = "Degraded", message = conditions.Stalled.message }
end
if is("Reconciling", "True") then
  return { status = "Progressing", message = conditions.Reconciling.message }
end
if is("Ready", "True") then
  return { status = "Healthy", message = conditions.Ready.message }
end
if is("Ready", "False") then
  health.message = conditions.Ready.message
end
return health
