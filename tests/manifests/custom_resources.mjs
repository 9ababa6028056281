// Checks custom resources against the schemas of their definitions: Gateway API's and the Prometheus operator's.
//
//   check.py --custom FILE.yaml… | node custom_resources.mjs
//
// Those schemas let unknown fields pass, so fields are looked for in their text besides. Then it seeds a fault of each sort,
// which must be found.
import { readFileSync } from "node:fs";
import { Gateway, HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import { PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const models = { Gateway, HTTPRoute, PrometheusRule, ServiceMonitor };

const schemas = {
  Gateway: "gateway-api/gateway.networking.k8s.io/v1/Gateway.js",
  HTTPRoute: "gateway-api/gateway.networking.k8s.io/v1/HTTPRoute.js",
  PrometheusRule: "prometheus-operator/_schemas/MonitoringCoreosComV1PrometheusRule.js",
  ServiceMonitor: "prometheus-operator/_schemas/MonitoringCoreosComV1ServiceMonitor.js",
};

// Whatever is below them is named by the user.
const free = new Set(["labels", "annotations", "matchLabels"]);

function* names(value) {
  if (Array.isArray(value)) for (const item of value) yield* names(item);
  else if (value && typeof value === "object")
    for (const [name, item] of Object.entries(value)) {
      yield name;
      if (!free.has(name)) yield* names(item);
    }
}

function faults(resource) {
  const Model = models[resource.kind];
  if (!Model) return [`no schema for ${resource.kind}`];
  const text = readFileSync(new URL(`node_modules/@kubernetes-models/${schemas[resource.kind]}`, import.meta.url), "utf8");
  const unknown = [...names(resource.spec)].filter((name) => !new RegExp(`\\b${name}\\b`).test(text));
  try {
    new Model(resource).validate();
    return unknown.map((name) => `unknown field ${name}`);
  } catch (error) {
    return [error.message];
  }
}

const seeded = {
  Gateway: [(spec) => delete spec.gatewayClassName, (spec) => (spec.listeners[0].potocol = "HTTP")],
  HTTPRoute: [(spec) => (spec.rules[0].timeouts.request = 30), (spec) => (spec.rules[0].timeout = "3s")],
  PrometheusRule: [(spec) => (spec.groups[0].rules[0].expr = []), (spec) => (spec.groups[0].rules[0].sumary = "x")],
  ServiceMonitor: [(spec) => (spec.endpoints[0].interval = "often"), (spec) => (spec.endpoints[0].prot = "internal")],
};

const found = JSON.parse(readFileSync(0, "utf8"));
let wrong = 0;
const tried = new Set();
for (const { fleet, resource } of found) {
  const name = `${fleet}: ${resource.kind} ${resource.metadata.name}`;
  for (const fault of faults(resource)) {
    console.log(`${name}: ${fault}`);
    wrong += 1;
  }
  // A list without groups has nothing to break.
  if (tried.has(resource.kind) || resource.spec.groups?.length === 0) continue;
  tried.add(resource.kind);
  for (const seed of seeded[resource.kind]) {
    const faulty = structuredClone(resource);
    seed(faulty.spec);
    if (faults(faulty).length > 0) continue;
    console.log(`${name}: a seeded fault is not found: ${seed}`);
    wrong += 1;
  }
}
console.log(`${found.length} custom resources (${[...tried].join(", ")}), ${wrong} faults`);
process.exit(wrong === 0 && found.length > 0 ? 0 : 1);
