{{/*
How long Kubernetes waits for a node: it serves for the delay, closes over the period, and has 10 s for the last
sockets; 5 s are to spare.
*/}}
{{- define "tidegate.grace" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 15 -}}
{{- end -}}

{{/*
Between two nodes of a rollout, as a Deployment does not wait for those that terminate: until the first has drained, and
its clients have stayed away for 30 s, the most that they are told.
*/}}
{{- define "tidegate.pause" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 30 -}}
{{- end -}}
