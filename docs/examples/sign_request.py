#!/usr/bin/env python3
"""Calls a tool of Weir with a signed request (RFC 9421, hmac-sha256). Python's standard library is enough.

    WEIR_SIGNING_SECRET=… sign_request.py https://weir.example billing-2026 crm__get_customer '{"id": 7}'

The address is the one that `server.public_url` names: it is what is signed. WEIR_CONNECT_TO=http://127.0.0.1:8080 connects
elsewhere, for a try on the machine where Weir runs.
"""

import base64, hashlib, hmac, json, os, secrets, sys, time, urllib.error, urllib.request


def signed_headers(secret: bytes, key_id: str, method: str, url: str, body: bytes) -> dict[str, str]:
    """The three headers that sign a request."""
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"
    now = int(time.time())
    parameters = (
        '("@method" "@target-uri" "content-digest")'
        f';created={now};expires={now + 60};nonce="{secrets.token_urlsafe(16)}"'
        f';keyid="{key_id}";alg="hmac-sha256"'
    )
    base = (
        f'"@method": {method}\n'
        f'"@target-uri": {url}\n'
        f'"content-digest": {digest}\n'
        f'"@signature-params": {parameters}'
    )
    signature = base64.b64encode(hmac.new(secret, base.encode(), hashlib.sha256).digest()).decode()
    return {"Content-Digest": digest, "Signature-Input": "sig=" + parameters, "Signature": f"sig=:{signature}:"}


def main() -> int:
    public_url, key_id, tool, arguments = sys.argv[1:5]
    secret = os.environ["WEIR_SIGNING_SECRET"].encode()
    path = "/v1/tools/call"
    body = json.dumps({"name": tool, "arguments": json.loads(arguments)}).encode()
    headers = signed_headers(secret, key_id, "POST", public_url + path, body)
    headers["Content-Type"] = "application/json"
    connect_to = os.environ.get("WEIR_CONNECT_TO", public_url)
    request = urllib.request.Request(connect_to + path, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as refused:
        print(refused.read().decode(), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
