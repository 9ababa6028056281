{{/*
terminationGracePeriodSeconds: the node serves for the delay, closes its connections over the period, and has 10 s for the
last sockets, plus 5 s of margin.
*/}}
{{- define "tidegate.grace" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 15 -}}
{{- end -}}

{{/*
The pause between two nodes of a rollout, because a Deployment does not wait for terminating pods: until the first node has
drained, and for 30 s more, the longest delay (after_ms) after which its clients reconnect.
*/}}
{{- define "tidegate.pause" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 30 -}}
{{- end -}}
