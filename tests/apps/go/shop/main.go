// A small shop: absolute URLs from r.TLS, a session cookie.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func index(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, `<!doctype html><title>Shop</title>
<link rel="stylesheet" href="%s/shop.css">
<a href="/login">Sign in</a>`, base(r))
}

func css(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css")
	fmt.Fprint(w, "h1 { color: teal }")
}

func login(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		// doctor: cookie
		Name: "session", Value: "ada", Path: "/", HttpOnly: true,
	})
	http.Redirect(w, r, base(r)+"/account", http.StatusSeeOther)
}

func account(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, `{"user": "ada", "address": %q}`, host)
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", index)
	mux.HandleFunc("/shop.css", css)
	mux.HandleFunc("/login", login)
	mux.HandleFunc("/account", account)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}
