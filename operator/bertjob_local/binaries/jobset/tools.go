//go:build tools

// Package tools keeps the main packages we build in the module graph.
package tools

import (
	_ "sigs.k8s.io/jobset"
)
