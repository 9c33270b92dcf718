"""Checks of single settings, and that their messages repeat no secret."""

import pytest
from pydantic import TypeAdapter, ValidationError

from figa_core.config.values import (
    EngineName,
    api_base_url,
    environment_variable,
    function_spec,
    model_name,
    not_blank,
    one_line,
)
from figa_core.inference.engine import engine_names


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:8000/v1/",
        "http://[::1]:8000/v1",
        "https://host/openai/deployments/x",
        "https://host/models",
    ],
)
def test_an_api_address_is_accepted(url: str) -> None:
    assert api_base_url(url) == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("api.openai.com/v1", "must be an http or https URL"),
        ("ftp://host/v1", "must be an http or https URL"),
        ("https:///v1", "must be an http or https URL"),
        ("", "must be an http or https URL"),
        ("http://localhost:99999/v1", "must be an http or https URL.*Port out of range"),
        ("http://localhost:many/v1", "Port could not be cast"),
        ("http://[::1/v1", "Invalid IPv6"),
        ("http://user:s3cret@host/v1", "must hold no user"),
        ("https://host/v1?api-version=1", "must hold no user, password, query"),
        ("https://host/v1#top", "fragment"),
        ("https://host/v1/chat/completions", "must end before /chat/completions"),
        ("https://host/v1/chat/completions/", "must end before /chat/completions"),
        ("https://host/v1/completions", "must end before /completions: /chat/completions is added"),
        ("https://host/v1/responses", "must end before /responses"),
        ("https://host/v1 ", "white space"),
        ("http:// host/v1", "white space"),
        ("https://<your-host>/v1", "placeholder"),
        ("https://{region}.host/v1", "placeholder"),
    ],
)
def test_text_that_is_not_an_api_address_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        api_base_url(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["gpt-4.1-mini", "meta-llama/Llama-3.1-8B", "accounts/x/models/y:free", "a b"]
)
def test_a_models_name_is_accepted(name: str) -> None:
    assert model_name(name) == name


@pytest.mark.parametrize("name", [" gpt", "gpt ", "gpt\n", "g\tpt", "gpt\u200b", "", " "])
def test_a_models_name_with_white_space_around_it_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"bare name|empty"):
        model_name(name)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "my_key", "KEY2", "COMPANY_GATEWAY_TOKEN_FOR_EUROPE_2"])
def test_a_variables_name_is_accepted(name: str) -> None:
    assert environment_variable(name) == name


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdef",
        "gsk_abcdefghij",
        "hf_abcdefghij",
        "AIzaSyabcdefgh",
        "xai-abcdefghij",
        "Bearer abcdefgh",
        "0aB1cD2eF3gH4iJ5kL6mN7oP",
        "a" * 61,
    ],
)
def test_a_key_in_place_of_a_variables_name_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="seems to be a key itself") as caught:
        environment_variable(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "$OPENAI_API_KEY", "KEY=abc", "MY KEY"])
def test_text_that_cannot_name_a_variable_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of"):
        environment_variable(name)


@pytest.mark.parametrize("spec", ["", ":", "module", "module:", ":function", " : "])
def test_a_verifier_is_a_module_and_a_function(spec: str) -> None:
    with pytest.raises(ValueError, match="module:function"):
        function_spec(spec)


def test_no_verifier_and_one_of_the_right_form_are_accepted() -> None:
    assert function_spec(None) is None
    assert function_spec("a.b:c") == "a.b:c"
    assert not_blank("a name") == "a name"


@pytest.mark.parametrize("name", ["", "first run", "模型 α/β", "x" * 200])
def test_a_name_of_one_line_is_accepted(name: str) -> None:
    assert one_line(name) == name


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "tab\t", "nul\0", "x" * 201])
def test_a_name_that_a_table_cannot_show_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"one line of printable|at most 200"):
        one_line(name)


def test_an_unregistered_engine_is_refused_with_the_choices() -> None:
    *others, last = map(repr, engine_names())
    with pytest.raises(ValidationError, match=f"Input should be {', '.join(others)} or {last}"):
        TypeAdapter(EngineName).validate_python("magic")
