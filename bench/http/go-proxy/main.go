// What is compared with: Go's own reverse proxy, which writes the model into the body and does nothing else.
package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

var key, written = []byte(`"model"`), []byte(`"m"`)

// modelSpan finds the value of the object's own "model": depth is counted, strings are skipped.
func modelSpan(body []byte) (from, to int) {
	depth := 0
	for at := 0; at < len(body); at++ {
		switch body[at] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(body, at)
			if depth == 1 && bytes.Equal(body[at:end], key) {
				value := len(body) - len(bytes.TrimLeft(body[end:], ": \t\r\n"))
				if value > end && value < len(body) && body[value] == '"' {
					return value, stringEnd(body, value)
				}
			}
			at = end - 1
		}
	}
	return 0, 0
}

func stringEnd(body []byte, at int) int {
	for at++; at < len(body) && body[at] != '"'; at++ {
		if body[at] == '\\' {
			at++
		}
	}
	return min(at+1, len(body))
}

func main() {
	upstream, _ := url.Parse("http://127.0.0.1:" + os.Args[2])
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: &http.Transport{MaxIdleConns: 10000, MaxIdleConnsPerHost: 10000, DisableCompression: true},
	}
	http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, max(r.ContentLength, 0))
		if _, err := io.ReadFull(r.Body, body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if from, to := modelSpan(body); to > 0 {
			parts := []io.Reader{bytes.NewReader(body[:from]), bytes.NewReader(written), bytes.NewReader(body[to:])}
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(parts...)), int64(len(body)-(to-from)+len(written))
		}
		proxy.ServeHTTP(w, r)
	}))
}
