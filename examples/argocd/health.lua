-- Health of a SomaBrain for Argo CD: the value of resource.customizations.health.somabrain.io_SomaBrain in argocd-cm.
local function condition(kind)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == kind then
      return each
    end
  end
  return {}
end

local function is_true(kind)
  return condition(kind).status == "True"
end

local function health(status, kind)
  return { status = status, message = condition(kind).message }
end

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "No operator has observed this generation yet." }
end
if is_true("Paused") and not is_true("Degraded") then
  return health("Suspended", is_true("Stalled") and "Stalled" or "Paused")
end
if is_true("Stalled") then
  return health("Degraded", "Stalled")
end
if is_true("Ready") then -- with a lesser fault, such as an autoscaler without metrics, its sentence is shown
  return health("Healthy", is_true("Degraded") and "Degraded" or "Ready")
end
return health("Progressing", is_true("Reconciling") and "Reconciling" or "Ready")
