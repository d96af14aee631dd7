{{/* Prefix of the names of objects. */}}
{{- define "bertjob.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels by which the operator's pods are found; they never change. */}}
{{- define "bertjob.selector" -}}
app.kubernetes.io/name: bertjob-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. part-of names the chart: children of BertJobs carry "bertjob", and the operator watches those. */}}
{{- define "bertjob.labels" -}}
{{ include "bertjob.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: bertjob-chart
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Image reference from a repository, a tag or a digest: {image, chart}. */}}
{{- define "bertjob.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .chart.AppVersion .image.tag }}
{{- end -}}
{{- end }}

{{- define "bertjob.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (printf "%s-operator" (include "bertjob.fullname" .)) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name: needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{/* What the restricted Pod Security Standard asks of a container. */}}
{{- define "bertjob.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Egress of whoever looks names up. */}}
{{- define "bertjob.dns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{/* Egress of whoever reads or writes object storage, or loads from a model hub. */}}
{{- define "bertjob.storage" -}}
- ports:
    {{- range .Values.networkPolicy.storagePorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}
