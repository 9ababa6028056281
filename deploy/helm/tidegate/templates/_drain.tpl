{{/*
How long Kubernetes waits for a node: it serves for the delay, closes over the period, and has 10 s for the last
sockets; 5 s are to spare.
*/}}
{{- define "tidegate.grace" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 15 -}}
{{- end -}}
