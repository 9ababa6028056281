{{/*
How long Kubernetes waits for a node: it serves for the delay, closes over the period, and has 10 s for the last
sockets, or broker.publish_timeout and 2 s where that is longer; 5 s are to spare.
*/}}
{{- define "tidegate.grace" -}}
{{- $timeout := dig "broker" "publish_timeout" "2s" .Values.config -}}
{{- $number := regexFind "^[0-9]+" $timeout | int -}}
{{- /* The most that a node takes. */ -}}
{{- $seconds := 60 -}}
{{- if regexMatch "^[0-9]+ms$" $timeout -}}
{{- $seconds = div (add $number 999) 1000 -}}
{{- else if regexMatch "^[0-9]+s$" $timeout -}}
{{- $seconds = $number -}}
{{- end -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds (max 15 (add $seconds 7)) -}}
{{- end -}}

{{/*
Between two nodes of a rollout, as a Deployment does not wait for those that terminate: until the first has drained, and
its clients have stayed away for 30 s, the most that they are told.
*/}}
{{- define "tidegate.pause" -}}
{{- add .Values.drain.delaySeconds .Values.drain.periodSeconds 30 -}}
{{- end -}}
