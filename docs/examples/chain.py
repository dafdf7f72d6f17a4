import os
import requests

vault, url, ca = requests.Session(), os.environ["TRESOR_URL"], os.environ["TRESOR_CA"]


def call(method, path, **more):
    answer = vault.request(method, url + path, verify=ca, **more)
    vault.headers.update({h: answer.headers[h] for h in ("access-token", "client", "uid") if h in answer.headers})
    answer.raise_for_status()
    return answer.json()


call("POST", "/v1/auth/sign_in", json={"uid": os.environ["TRESOR_UID"], "password": os.environ["TRESOR_PASSWORD"]})
print(call("GET", "/v1/auth/validate_token")["data"]["role"])
print(call("GET", "/v1/types")["items"][0]["name"])
