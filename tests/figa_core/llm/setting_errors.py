"""Bodies of errors about a setting of the request: (status, body, setting, value_refused)."""

from tests.figa_core.llm.provider_errors import PYDANTIC, anthropic, openai

SETTINGS = [
    (
        400,
        openai(
            "Unsupported parameter: 'temperature' is not supported with this model.",
            "unsupported_parameter",
            param="temperature",
        ),
        "temperature",
        False,
    ),
    (
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value "
            "is supported.",
            "unsupported_value",
            param="temperature",
        ),
        "temperature",
        False,
    ),
    (
        422,
        {
            "error": "Input validation error: `temperature` must be strictly positive",
            "error_type": "validation",
        },
        "temperature",
        True,
    ),
    (400, openai("temperature must be between 0.1 and 2"), "temperature", True),
    (422, {"message": "temperature: ensure this value is greater than 0"}, "temperature", True),
    (400, openai("0 is too small for temperature"), "temperature", True),
    (
        422,
        {
            "detail": [
                {
                    "type": "greater_than",
                    "loc": ["body", "temperature"],
                    "msg": "Input should be greater than 0",
                }
            ]
        },
        "temperature",
        True,
    ),
    (400, openai("Conversation roles must alternate user/assistant/user/assistant"), "system", True),
    (
        400,
        openai(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            "unsupported_value",
            param="messages[0].role",
        ),
        "system",
        True,
    ),
    (400, openai("Unrecognized request argument supplied: response_format"), "response_format", False),
    (422, {"detail": [PYDANTIC]}, "response_format", False),
    (
        422,
        {"object": "error", "message": {"detail": [PYDANTIC]}, "type": "invalid_request_error"},
        "response_format",
        False,
    ),
    (
        400,
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream'), 'msg': 'Extra "
            "inputs are not permitted', 'input': False}]",
            "code": 400,
        },
        "stream",
        False,
    ),
    (
        400,
        openai("'response_format' of type 'json_schema' is not supported", param="response_format.type"),
        "response_format",
        False,
    ),
    (400, {"error": {"message": "This model does not support structured outputs"}}, "response_format", False),
    (
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "unsupported_parameter",
            param="max_tokens",
        ),
        "max_tokens",
        False,
    ),
    (
        400,
        openai(
            "max_tokens is too large: 2048. This model supports at most 1024 completion tokens, whereas you "
            "provided 2048.",
            "invalid_value",
            param="max_tokens",
        ),
        "max_tokens",
        True,
    ),
    (400, openai("Unknown parameter: 'stream'."), "stream", False),
    (
        400,
        anthropic("max_tokens: 9000 > 4096, which is the maximum allowed number of output tokens"),
        "max_tokens",
        True,
    ),
    (400, openai("`temperature` is deprecated for this model."), "temperature", False),
]
