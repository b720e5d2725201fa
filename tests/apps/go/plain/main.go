// Nothing here depends on the scheme.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `<!doctype html><title>Clock</title><a href="/time">time</a>`)
	})
	http.HandleFunc("/time", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "noon") })
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
