//go:build tools

// Package tools keeps the main packages we build in the module graph.
package tools

import (
	_ "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager"
)
