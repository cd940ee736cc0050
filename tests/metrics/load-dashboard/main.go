// Reads a dashboard with Grafana's own SDK, strictly: fields that panels and queries do not have, that are missing, or
// that have another type are errors. Prints how many panels there are.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := io.ReadAll(os.Stdin)
	stopAt(err)
	var read dashboard.Dashboard
	stopAt(read.UnmarshalJSONStrict(text))
	stopAt(read.Validate())
	fmt.Println(len(read.Panels))
}

// The SDK's list of errors may be there and empty.
func stopAt(err error) {
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
