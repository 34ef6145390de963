// Reads manifests from the files given and decodes every object of a known kind of another project into that project's own
// Go type. A field that the type does not have, or a value of the wrong type, is an error. Prints how many of each kind it
// read; kinds that it does not know are left to others.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	strict "sigs.k8s.io/yaml"
)

var kinds = map[string]func() any{
	"cert-manager.io/v1 Certificate":          func() any { return new(certmanager.Certificate) },
	"cert-manager.io/v1 Issuer":               func() any { return new(certmanager.Issuer) },
	"gateway.networking.k8s.io/v1 HTTPRoute":  func() any { return new(gateway.HTTPRoute) },
	"keda.sh/v1alpha1 ScaledObject":           func() any { return new(keda.ScaledObject) },
	"monitoring.coreos.com/v1 PodMonitor":     func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
}

func main() {
	counts := map[string]int{}
	failed := false
	for _, name := range os.Args[1:] {
		if err := read(name, counts); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			failed = true
		}
	}
	seen := make([]string, 0, len(counts))
	for kind := range counts {
		seen = append(seen, kind)
	}
	sort.Strings(seen)
	for _, kind := range seen {
		fmt.Println(kind, counts[kind])
	}
	if failed {
		os.Exit(1)
	}
}

func read(name string, counts map[string]int) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	buffer := make([]byte, len(text)+1)
	var faults []error
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return errors.Join(faults...)
		}
		if err != nil {
			return err
		}
		var meta struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := strict.Unmarshal(buffer[:n], &meta); err != nil {
			return err
		}
		id := meta.APIVersion + " " + meta.Kind
		object, known := kinds[id]
		if !known {
			continue
		}
		counts[id]++
		if err := strict.UnmarshalStrict(buffer[:n], object()); err != nil {
			faults = append(faults, fmt.Errorf("%s %s: %w", id, meta.Metadata.Name, err))
		}
	}
}
