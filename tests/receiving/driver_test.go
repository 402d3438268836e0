// Beside the Go of docs/receiving.md: reads the requests of the test, and says of each whether it is taken.
package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
)

func TestVerify(t *testing.T) {
	text, err := os.ReadFile("requests.json")
	if err != nil {
		t.Fatal(err)
	}
	var requests [][3]json.RawMessage
	if err := json.Unmarshal(text, &requests); err != nil {
		t.Fatal(err)
	}
	for _, request := range requests {
		var secret, body string
		var named map[string]string
		for at, part := range []any{&secret, &named, &body} {
			if err := json.Unmarshal(request[at], part); err != nil {
				t.Fatal(err)
			}
		}
		headers := http.Header{}
		for name, value := range named {
			headers.Set(name, value)
		}
		fmt.Println(Verify(secret, headers, []byte(body)))
	}
}
