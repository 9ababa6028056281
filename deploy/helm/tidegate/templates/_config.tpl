{{/* The configuration file of a node: `config`, and keys derived from other values. */}}
{{- define "tidegate.config" -}}
{{- $listen := dict
    "server" (dict "listen" (printf "0.0.0.0:%v" .Values.ports.public))
    "internal" (dict "listen" (printf "0.0.0.0:%v" .Values.ports.internal))
    "drain" (dict "delay" (printf "%vs" .Values.drain.delaySeconds) "period" (printf "%vs" .Values.drain.periodSeconds)) -}}
{{- toYaml (mergeOverwrite (dict "demo" false) (deepCopy .Values.config) $listen) -}}
{{- end -}}

{{/* Without Redis, several nodes would not exchange publications, and only users would notice. */}}
{{- define "tidegate.broker" -}}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}
{{- $url := dig "broker" "url" "memory:" .Values.config -}}
{{- $named := false -}}
{{- range .Values.env -}}
{{- if eq .name "TIDEGATE__BROKER__URL" -}}{{- $named = true -}}{{- end -}}
{{- end -}}
{{- if and $several (not .Values.secrets.existingSecret) (eq $url "memory:") (not $named) -}}
{{- fail "several nodes need Redis: name a Secret with broker-url in secrets.existingSecret, or set config.broker.url, or TIDEGATE__BROKER__URL in env" -}}
{{- end -}}
{{- end -}}

{{/* Not empty: the internal listener uses TLS. */}}
{{- define "tidegate.internal_tls" -}}
{{- $tls := dig "internal" "tls" dict .Values.config -}}
{{- if $tls.client_ca -}}
{{- fail "config.internal.tls.client_ca: the kubelet shows no certificate, so no node would ever be ready" -}}
{{- end -}}
{{- $tls.cert | default "" -}}
{{- end -}}

{{/* Checks that a schema cannot express: values that contradict each other. */}}
{{- define "tidegate.contradictions" -}}
{{- if eq (int .Values.ports.public) (int .Values.ports.internal) -}}
{{- fail "ports.public and ports.internal are the same" -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail "autoscaling.minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if and .enabled (not .connections) (not .cpu) -}}
{{- fail "autoscaling has no metric: connections and cpu are both 0" -}}
{{- end -}}
{{- end -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey $.Values.podLabels $label -}}
{{- fail (printf "podLabels has %s, by which the pods are selected" $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
