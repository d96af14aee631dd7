//go:build tools

// Package tools keeps the main packages we build in the module graph.
package tools

import (
	_ "github.com/versity/versitygw/cmd/versitygw"
)
