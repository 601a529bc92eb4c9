"""What the three services really answered instead of a model, as public threads and their clients show it."""

import json

from tests.hubs import Fault


def _fault(status, body=b"", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(status=status, body=data, headers=headers, times=10**6)


GATED = (
    "Access to model u/r is restricted and you are not in the authorized list. "
    "Visit https://huggingface.co/u/r to ask for access."
)
LIMITED = "We had to rate limit your IP (10.0.0.1). To continue using our service, create a HF account"
NEWER = b"The model you are attempting to pull requires a newer version of Ollama.\nPlease download it."
SHARDED = "The specified tag is a sharded GGUF. Ollama does not support this yet."
ONLY_SHARDED = "This repository only contains sharded GGUF files"
NOT_AVAILABLE = 'The specified tag is not available in the repository. Please use another tag or "latest"'
UNKNOWN = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Log in</title><script>evil()</script></html>"

HUGGINGFACE = {
    # name: (the answer, class, a part of the message, a part of the hint)
    "gated": (
        _fault(401, {"error": GATED}, X_Error_Code="GatedRepo"),
        "AccessDenied",
        "people with",
        "ask for",
    ),
    "not on the list": (
        _fault(403, {"error": GATED}, X_Error_Code="GatedRepo"),
        "AccessDenied",
        "people with access",
        "https://huggingface.co/u/r",
    ),
    "no repository": (
        _fault(401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound"),
        "RemoteNotFound",
        "no repository `hf.co/u/r`",
        "private",
    ),
    "no or private": (
        _fault(401, {"error": "Invalid username or password."}),
        "RemoteNotFound",
        "or it is private",
        "HF_TOKEN",
    ),
    "no revision": (
        _fault(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound"),
        "RemoteNotFound",
        "no revision",
        "see https://huggingface.co/u/r",
    ),
    "404 without a code": (_fault(404), "RemoteNotFound", "there is no `hf.co/u/r`", "check the name"),
    "403 without a code": (_fault(403), "AccessDenied", "people with access", "ask for access"),
    "limited": (
        _fault(429, {"error": LIMITED}, RateLimit='"resolvers";r=0;t=299'),
        "Download",
        "rate limit your IP",
        "wait 299 seconds",
    ),
    "limited with a header": (
        _fault(429, b"", Retry_After="120"),
        "Download",
        "too many",
        "wait 120 seconds",
    ),
    "trouble": (_fault(500, b"Internal Server Error"), "Download", "Internal Server Error", "later"),
    "bad gateway": (_fault(502, LOGIN_PAGE), "Download", "trouble (status 502)", "later"),
    "log-in page": (_fault(200, LOGIN_PAGE), "Download", "JSON", "proxy"),
    "nothing": (_fault(200), "Download", "JSON", "proxy"),
    "another service": (_fault(200, {"models": []}), "Download", "does not speak", "HF_ENDPOINT"),
    "a list": (_fault(200, []), "Download", "does not speak", "HF_ENDPOINT"),
}

MODELSCOPE = {
    "not there": (
        _fault(404, {"Code": 10010205001, "Success": False, "Message": "模型不存在"}),
        "RemoteNotFound",
        "模型不存在",
        "check the name",
    ),
    "not there with status 200": (
        _fault(200, {"Code": 10010205001, "Success": False, "Message": "模型不存在"}),
        "RemoteNotFound",
        "there is no `modelscope.cn/u/r`",
        "check the name",
    ),
    "no access": (
        _fault(403, {"Code": 403, "Success": False, "Message": "无访问权限"}),
        "AccessDenied",
        "无访问权限",
        "MODELSCOPE_API_TOKEN",
    ),
    "bad token": (
        _fault(200, {"Code": 10010103009, "Success": False, "Message": "AccessToken invalid"}),
        "AccessDenied",
        "AccessToken invalid",
        "MODELSCOPE_API_TOKEN",
    ),
    "bad parameter": (
        _fault(400, {"Code": "InvalidParameter", "msg": "bad Revision"}),
        "Download",
        "bad Revision",
        "check",
    ),
    "success is false": (_fault(200, {"Code": 200, "Success": False}), "Download", "refuses", "check"),
    "limited": (
        _fault(429, {"message": "RateLimitExceed"}, Retry_After="90"),
        "Download",
        "RateLimitExceed",
        "wait 90",
    ),
    "trouble": (_fault(503), "Download", "trouble (status 503)", "later"),
    "no data": (_fault(200, {"Code": 200, "Success": True, "Data": None}), "Download", "no listing", ""),
    "log-in page": (_fault(200, LOGIN_PAGE), "Download", "JSON", "proxy"),
}

REGISTRY = {
    "unknown": (_fault(404, UNKNOWN), "RemoteNotFound", "manifest unknown", "check the name"),
    "empty object": (_fault(404, {}), "RemoteNotFound", "there is no", "check the name"),
    "plain text": (_fault(404, b"404 page not found"), "RemoteNotFound", "404 page", "check the name"),
    "no such tag": (_fault(400, {"error": NOT_AVAILABLE}), "UnknownTag", "not available", "Q4_K_M"),
    "bad scheme": (
        _fault(400, {"error": "Q9 is not a valid quantization scheme"}),
        "UnknownTag",
        "valid quantization",
        "leave out",
    ),
    "sharded": (_fault(400, {"error": SHARDED}), "UnknownTag", "sharded", "leave out `--source`"),
    "only sharded": (_fault(400, {"error": ONLY_SHARDED}), "UnknownTag", "sharded", "leave out"),
    "modelscope's": (
        _fault(400, b"The specified GGUF file does not exist."),
        "UnknownTag",
        "does not exist",
        "leave out",
    ),
    "no access": (
        _fault(401, {"error": "Invalid username or password."}),
        "AccessDenied",
        "Invalid username",
        "PHI4LOCAL_REGISTRY_AUTH",
    ),
    "forbidden": (_fault(403), "AccessDenied", "people with access", "PHI4LOCAL_REGISTRY_AUTH"),
    "newer client": (_fault(412, NEWER), "Download", "newer version of Ollama. Please", "another source"),
    "limited": (_fault(429, {"error": LIMITED}, Retry_After="61"), "Download", "rate limit", "wait 61"),
    "trouble": (_fault(500), "Download", "trouble (status 500)", "later"),
    "log-in page": (_fault(200, LOGIN_PAGE), "Download", "is no manifest", "nothing was written"),
}
