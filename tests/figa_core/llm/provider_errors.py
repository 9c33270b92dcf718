# ruff: noqa: E501
"""Bodies of errors from providers and proxies, by their meaning: (status, body)."""

from typing import Any

CLOUDFLARE = (
    b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>x</body>"
)


NGINX = (
    b"<html>\r\n<head><title>%s</title></head>\r\n<body><center><h1>%s</h1></center><hr>nginx</body></html>"
)


def openai(
    message: str, code: str | None = None, kind: str = "invalid_request_error", param: Any = None
) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def google(code: int, message: str, status: str, reason: str | None = None) -> Any:
    details = (
        [] if reason is None else [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    )
    return [{"error": {"code": code, "message": message, "status": status, "details": details}}]


def anthropic(message: str, kind: str = "invalid_request_error") -> Any:
    return {"type": "error", "error": {"type": kind, "message": message}}


ACCOUNT_EMPTY = [
    (
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
    ),
    (429, openai("You exceeded your current quota, please check your plan and billing details.")),
    (400, openai("Billing hard limit has been reached", "billing_hard_limit_reached")),
    (400, anthropic("Your credit balance is too low to access the API. Please go to Plans & Billing.")),
    (
        400,
        anthropic("You have reached your specified API usage limits. You will regain access on 2026-12-01."),
    ),
    (
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "code": "invalid_request_error",
            }
        },
    ),
    (402, {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}),
    (402, b""),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    (
        403,
        {
            "error": {
                "message": "用户额度不足, 剩余额度: 0",
                "type": "new_api_error",
                "code": "insufficient_user_quota",
            }
        },
    ),
    (
        400,
        {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."},
    ),
    (403, "Your team 7f has either used all available credits or reached its monthly spending limit."),
    (422, {"detail": "Insufficient credits. Please recharge."}),
    (
        429,
        openai("Your account is suspended due to insufficient balance", None, "exceeded_current_quota_error"),
    ),
    (429, {"error": {"code": "1113", "message": "您的账户已欠费,请充值后重试。"}}),
    (
        500,
        {"error": {"message": "litellm.BadRequestError: Your credit balance is too low to access the API"}},
    ),
    (400, [{"message": "insufficient funds"}]),
    (403, {"error": "quota exceeded for this month"}),
    (403, {"error": {"message": "Key limit exceeded (total limit). Manage it in the settings", "code": 403}}),
    (400, {"error": {"message": "Your trial has expired"}}),
    (
        403,
        google(
            403, "This API method requires billing to be enabled.", "PERMISSION_DENIED", "BILLING_DISABLED"
        ),
    ),
]


KEY_WRONG = [
    (401, openai("Incorrect API key provided: sk-x***y.", "invalid_api_key")),
    (401, b""),
    (
        400,
        google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", "API_KEY_INVALID"),
    ),
    (400, [{"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]),
    (400, google(400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT")),
    (401, anthropic("invalid x-api-key", "authentication_error")),
    (403, {"message": "Invalid API key"}),
    (422, {"detail": "Invalid authentication token"}),
    (401, {"error": {"message": "No auth credentials found", "code": 401}}),
    (401, {"detail": "Unauthorized"}),
    (400, "Invalid API Key"),
    (403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}),
    (401, {"error": "Invalid username or password."}),
    (
        401,
        {
            "error": {
                "code": "401",
                "message": "Access denied due to invalid subscription key or wrong API endpoint.",
            }
        },
    ),
    (400, {"error": {"message": "Authentication Fails (no such user)", "type": "authentication_error"}}),
]


NOT_ALLOWED = [
    (403, google(403, "Permission denied on resource project x.", "PERMISSION_DENIED", "CONSUMER_INVALID")),
    (403, openai("Country, region, or territory not supported", "unsupported_country_region_territory")),
    (400, google(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")),
    (400, anthropic("This organization has been disabled.")),
    (403, openai("Project `proj_1` does not have access to model `gpt-4`")),
    (403, {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}}),
    (412, {"error": {"message": "Account x is suspended, possibly due to failure to pay past invoices"}}),
]


MODEL_UNKNOWN = [
    (404, openai("The model `gpt-9` does not exist or you do not have it.", "model_not_found")),
    (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
    ),
    (400, {"error": {"message": "x is not a valid model ID", "code": 400}}),
    (400, openai("This value cannot be used here.", param="model")),
    (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
    (400, openai("Model Not Exist")),
    (404, anthropic("model: claude-9", "not_found_error") | {"code": "model_not_found"}),
    (
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
    ),
    (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}),
    (404, openai("Model x is not found, inaccessible, and/or not deployed")),
    (404, {"error": {"message": "No endpoints found that support the requested model.", "code": 404}}),
]


WRONG_PLACE = [
    (404, {"detail": "Not Found"}),
    (404, NGINX % (b"404 Not Found", b"404 Not Found")),
    (405, {"detail": "Method Not Allowed"}),
    (302, b""),
    (308, b"<html><head><title>308 Permanent Redirect</title></head></html>"),
]


FLAGGED = [
    (403, {"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged for "
                     '"violence".', "metadata": {"reasons": ["violence"], "flagged_input": "credit balance too low"}}}),
    (400, {"error": {"code": "content_filter", "status": 400, "message": "The response was filtered due to the prompt "
                     "triggering Azure OpenAI's content management policy.",
                     "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt")),
    (400, anthropic("Output blocked by content filtering policy")),
    (400, openai("Content Exists Risk")),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    (403, "Content violates usage guidelines. Team: t, API key ID: k, Model: m, Failed check: SAFETY_CHECK_TYPE_BIO"),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
    (400, openai("The request was rejected because it was considered high risk", "content_filter")),
    (422, {"detail": "prompt rejected by safety filter"}),
]  # fmt: skip


TOO_LONG = [
    (429, openai("Request too large for gpt in organization org-x on tokens per min (TPM): Limit 30000, Requested 40000. The input or output tokens must be reduced in order to run successfully.", "rate_limit_exceeded")),
    (413, openai("Request too large for model x on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.", "rate_limit_exceeded")),
    (400, openai("This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens.",
                 "context_length_exceeded", param="messages")),
    (400, openai("This model's maximum context length is 512 tokens. However, you requested 600 tokens", param="max_tokens")),
    (400, anthropic("prompt is too long: 210000 tokens > 200000 maximum")),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` "
           "tokens and 1024 `max_new_tokens`", "error_type": "validation"}),
    (400, google(400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", "INVALID_ARGUMENT")),
    (413, b""),
    (413, NGINX % (b"413 Request Entity Too Large", b"413 Request Entity Too Large")),
    (413, anthropic("Request exceeds the maximum size", "request_too_large")),
    (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {
        "raw": '{"error":{"message":"Please reduce the length of the messages."}}', "provider_name": "X"}}}),
]  # fmt: skip


TOO_FAST = [
    (429, openai("Rate limit reached for gpt in organization org-x on requests per min", "rate_limit_exceeded")),
    (429, b""),
    (429, anthropic("This request would exceed your organization's rate limit", "rate_limit_error")),
    (429, {"message": "Requests rate limit exceeded"}),
    (429, {"message": "Rate limit exceeded: no API key, so the limit for anonymous callers applies"}),
    (403, google(403, "Too many", "PERMISSION_X", "rateLimitExceeded")),
    (400, {"__type": "com.amazon.coral#X", "message": "Too many requests, please wait before trying again."}),
    (429, [{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing "
                      "details. Please retry in 12.3s.", "status": "RESOURCE_EXHAUSTED",
                      "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12s"}]}}]),
]  # fmt: skip


PASSING = [
    (500, {"error": {"message": "The server had an error", "type": "server_error"}}),
    (502, NGINX % (b"502 Bad Gateway", b"502 Bad Gateway")),
    (503, {"error": "Model is loading", "estimated_time": 12}),
    (529, anthropic("Overloaded", "overloaded_error")),
    (408, b""),
    (424, {"error": "Request failed during generation", "error_type": "generation"}),
    (524, CLOUDFLARE),
]


UNRECOGNISED = [
    (400, {"error": {"message": "bad row"}}),
    (403, {"error": {"message": "not allowed"}}),
    (403, CLOUDFLARE),
    (403, b""),
    (400, b""),
    (422, b"{}"),
    (400, openai("Invalid value for 'content': expected a string, got null.", param="messages.[1].content")),
    (
        400,
        {
            "error": {
                "message": "You said 'my credit balance is too low and I want to talk to a person about this now'"
            }
        },
    ),
]


PYDANTIC = {
    "type": "extra_forbidden",
    "loc": ["body", "response_format"],
    "msg": "Extra inputs are not permitted",
}
