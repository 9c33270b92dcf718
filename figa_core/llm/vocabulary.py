"""Providers' words and codes for each kind of error, one phrase a line. Data, no logic.

Codes are compared whole and in lower case; phrases are regular expressions, searched for in all of an error's
text. `refusals.py` has the order in which they count.
"""

import re
from dataclasses import dataclass

from figa_core.llm.error_bodies import ErrorBody


@dataclass(frozen=True, slots=True)
class Topic:
    """What an error may be about, by codes that suffice on their own, and by phrases."""

    codes: frozenset[str]
    phrases: re.Pattern[str]

    def has_code(self, error: ErrorBody) -> bool:
        """Whether an error has one of the codes."""
        return not self.codes.isdisjoint(error.codes)

    def matches(self, error: ErrorBody) -> bool:
        """Whether an error is about this, by its codes or its words."""
        return self.has_code(error) or self.phrases.search(error.words) is not None


def _phrases(lines: str) -> re.Pattern[str]:
    return re.compile("|".join(map(str.strip, lines.strip().splitlines())), re.IGNORECASE)


def _topic(lines: str, codes: str = "") -> Topic:
    return Topic(frozenset(codes.split()), _phrases(lines))


QUOTA = _topic(
    r"""
    insufficient[ _](?:account |available )?(?:credit|balance|quota|funds)
    \bbalance (?:is |was )?(?:too low|insufficient|exhausted|zero|negative|empty|not enough)
    \b(?:credits?|quota) (?:is |are |has |have )?(?:been )?(?:exhausted|depleted|used up|run out|expired)
    \b(?:out of|no|not enough|more|used all|used all available) (?:remaining |api |your )?credits?\b
    exceeded your monthly included credits
    \bno remaining (?:balance|credits?|quota)
    \b(?:trial|subscription|plan) (?:has |is )?expired
    payment (?:is )?required
    \b(?:add|enter|update|valid) (?:a |your )?payment method
    billing (?:is )?(?:not active|not enabled|disabled|to be enabled)
    \b(?:past.due|unpaid|overdue) (?:balance|invoice|payment|account)
    please (?:recharge|top.?up)\b
    余额|欠费|充值|额度(?:不足|已用尽)
""",
    """
    insufficient_quota billing_hard_limit_reached billing_not_active insufficient_user_quota
    insufficient_balance insufficient_credits exceeded_current_quota_error arrearage billing_error
    payment_required billing_disabled pre_consume_token_quota_failed budget_exceeded
""",
)
# Google uses such words for its limit per minute too, with a time to wait.
QUOTA_OR_RATE = _topic(r"""
    exceeded your current quota
    \bquota (?:is |was |has been )?exceeded
    \bkey limit exceeded
    \bexceeded ?budget\b
    \b(?:credit|spend(?:ing)?|billing|budget|usage) (?:hard )?limits? (?:is |was |has been )?(?:reached|hit)
    \b(?:credit|spend(?:ing)?|billing|budget|usage) (?:hard )?limits? (?:is |was |has been )?exceeded
    \b(?:reached|exceeded|hit) (?:your|its|the) (?:\w+ ){0,3}(?:spend(?:ing)?|billing|usage|credit) limit
""")
KEY = _topic(
    r"""
    \b(?:invalid|incorrect|wrong|missing|malformed|no|unknown|expired|revoked) (?:x-)?api[ _-]?key
    \bapi[ _-]?key\b.{0,40}\b(?:invalid|not valid|incorrect|expired|revoked|disabled|deleted|missing)\b
    \bapi[ _-]?key\b.{0,40}\b(?:required|not found|not provided|leaked|not exist|malformed)\b
    \binvalid (?:access |auth |authentication |bearer )token
    \btoken (?:has |is )?(?:been )?(?:expired|revoked)
    \b(?:invalid|missing|bad|no) (?:auth|authentication|authorization|bearer) (?:header|token|credential)
    \bauthentication (?:failed|fails|error|is required|parameter)
    could not validate credentials
    \binvalid (?:username or password|credentials?|subscription key)
    \bunauthori[sz]ed\b
    you didn.t provide an api key
    令牌(?:无效|已过期|验证失败)|无效的令牌
""",
    """
    invalid_api_key invalid_authentication authentication_error invalid_authentication_error
    incorrect_api_key_error api_key_invalid api_key_expired invalid_token unauthenticated
    invalidsubscriptionkey invalidapikey
""",
)
ACCESS = _topic(
    r"""
    \b(?:account|organi[sz]ation|project|team|workspace)\b.{0,80}\b(?:deactivated|suspended|disabled)
    \b(?:account|organi[sz]ation|project|team|workspace)\b.{0,80}\b(?:terminated|banned|restricted)
    \b(?:account|organi[sz]ation|project|team|workspace)\b.{0,80}\b(?:not active|verified to)
    \b(?:country|region|location|territory)\b.{0,60}\bnot (?:supported|available)
    \b(?:not have|without|no|lacks?) (?:access|permissions?)\b
    \bpermission denied
    \bnot (?:authori[sz]ed|entitled) to\b
    has not been used in project
    virtual network/firewall
    \bip (?:address )?.{0,30}not (?:allowed|whitelisted)
    account is in good standing
""",
    """
    account_deactivated account_suspended access_terminated permission_error permission_denied
    unsupported_country_region_territory service_disabled organization_restricted blocked_api_access
""",
)
FILTER = _topic(
    r"""
    content[ _-]?(?:filter|polic|management|moderation|safety|exists risk)
    \b(?:moderation|flagged|guardrails?)\b
    \busage (?:polic|guideline)
    \bsafety (?:system|filter|polic|settings?|checks?|reasons?)
    responsible ?ai
    \b(?:inappropriate|unsafe|sensitive|harmful|prohibited|offensive|disallowed) (?:\w+ )?content
    \b(?:inappropriate|unsafe|sensitive|harmful|prohibited|disallowed) (?:text|material|prompt|input|words?)
    considered high risk
    \bviolat\w* (?:\w+ ){0,3}(?:content|polic|guideline|safety)
    敏感|不安全|违规|不当内容
""",
    """
    content_filter content_policy_violation moderation_blocked moderation_error prohibited_content
    data_inspection_failed responsibleaipolicyviolation invalid_prompt content_filtered
    sensitivecontentdetected inputtextsensitivecontentdetected
""",
)
RATE = _topic(
    r"""
    \brate.?limit
    too many requests
    throttl
    \b(?:requests|tokens) per (?:second|minute|hour|day)\b
    \bslow down\b
    concurrency limit
    并发|速率限制
""",
    """
    rate_limit_exceeded rate_limit_error rate_limited ratelimitexceeded throttlingexception
    resource_exhausted too_many_requests
""",
)
# A request with more tokens than a whole minute permits, reported as a rate limit: waiting does not help.
LARGER_THAN_A_MINUTE = _phrases(r"""
    request too large for
    must be reduced in order to run
    reduce your message size
""")
TOO_LONG = _topic(
    r"""
    maximum context
    context[ _-]?(?:length|window|size)
    max_model_len
    \b(?:prompt|input|message|text) (?:is |was )?too (?:long|large)
    too many (?:input |prompt |total )?tokens
    token (?:count|limit) exceed
    \bexceeds? (?:the )?(?:\w+ ){0,4}(?:number of (?:input )?tokens|token limit|input length|input tokens)
    inputs`? (?:tokens \+ `?max_new_tokens`? )?must (?:be|have)
    \b(?:request|payload|body|entity) (?:entity |body |size )?(?:is )?too large
    reduce the length of
    range of input length
    longer than the (?:model|maximum)
""",
    "context_length_exceeded string_above_max_length request_too_large",
)
MODEL = _topic(
    r"""
    \bmodel\b.{0,80}?(?:not found|not exist|n.t exist|not available|unavailable|not supported|is unknown)
    \bmodel\b.{0,80}?(?:not a valid|is invalid|deprecated|decommissioned|no longer|retired|requires terms)
    \bmodel\b.{0,80}?(?:not loaded|not deployed|no access)
    \b(?:invalid|unknown|unsupported|no such) model\b
    not a valid model
    no models? (?:are |is )?loaded
    \bdeployment\b.{0,60}\bnot (?:exist|found)
    \bno (?:allowed |available )?(?:endpoints?|providers?)\b.{0,40}\b(?:found|available)
""",
    """
    model_not_found model_not_supported model_not_available deploymentnotfound invalid_model
    unknown_model model_decommissioned model_terms_required
""",
)

# The optional fields of a request, and the names that errors use for them.
FIELD_NAMES = {"max_new_tokens": "max_tokens", "json_schema": "response_format"}
FIELDS = {"max_tokens", "max_completion_tokens", "temperature", "response_format", "stream", "system"}
FIELD = _phrases(r"""
    (?<![\w.-])(max_tokens|max_completion_tokens|max_new_tokens|response_format|json_schema)\b
    [`'"“](temperature|stream|model)\b[^`'"”]{0,20}[`'"”]
    \b(?:parameters?|arguments?|fields?|property|keys?|value for|value of)\b[ :]+(temperature|stream)\b
    \b(?:supplied|inputs?)\b[ :]+(temperature|stream)\b
    \b(temperature|stream):? (?:parameter|argument|field|value|must|should|may|has to|needs|out of)
    \b(temperature|stream):? (?:cannot|can.t)
    \b(temperature|stream):? (?:ensure|input|expected|got)\b
    \btoo (?:small|large|low|high) for (temperature)\b
    \b(temperature|stream) (?:is (?:not|un|deprec)|does(?: not|n.t)|not supported)
    \b(?:invalid|unsupported) (temperature|stream)\b
    \b(temperature) ?= ?\d
""")
SYSTEM_ROLE = _phrases(
    r"""
    \bsystem[`'"]? (?:role|messages?|prompts?|instructions?)\b.{0,30}not (?:supported|allowed|enabled)
    \bsystem[`'"]? (?:role|messages?|prompts?|instructions?)\b.{0,30}unsupported
    does(?: not|n.t) support (?:the )?[`'"]?system\b
    \brole.{0,20}\bsystem\b.{0,20}(?:not (?:supported|allowed)|unsupported)
    developer instruction is not enabled
    only user and assistant roles
    conversation roles must alternate
"""
)
STRUCTURED = _phrases(r"""
    structured[ _](?:outputs?|generation)
    json[ _](?:mode|schema|object)
    guided[ _]decoding
    \b(?:failed to|cannot|could not) (?:parse|compile|convert) (?:the )?(?:json[ _]schema to )?grammar
    \bgrammars? (?:is|are) (?:not|un)
    \bfailed to generate json\b
    \bhandle the requested parameters\b
""")
ABOUT_A_SETTING = _phrases(r"""
    support|unrecogni[sz]ed|unknown|unexpected|permitted|not allowed|invalid|incompatible|unavailable
    extra (?:inputs|fields)
    must|should|deprecat|only|cannot|required|range|positive|greater|less|exceed
    too (?:large|small|high|low|big)
    at (?:most|least)
    not (?:available|enabled|implemented)
    failed to (?:parse|compile|convert|generate)
    handle the requested parameters
""")
NOT_TAKEN = _topic(
    r"""
    unsupported (?:parameter|argument|field)
    unrecogni[sz]ed
    unknown (?:parameter|argument|field|name)
    unexpected keyword
    extra (?:inputs|fields)
    not permitted
    \bnot (?:a )?(?:supported|allowed|accepted|recogni[sz]ed|available)
    does(?: not|n.t) (?:support|accept|allow) (?:the )?(?:parameter|temperature|max_|stream|structured)
    deprecated
    use .?max_completion_tokens
    cannot be (?:set|used|specified)
    only (?:the )?(?:default|1\b|temperature ?= ?1)
    default (?:\(?1\)? )?value
""",
    "unsupported_parameter unknown_parameter extra_forbidden",
)
UNSUPPORTED_CODES = NOT_TAKEN.codes | {"unsupported_value"}
