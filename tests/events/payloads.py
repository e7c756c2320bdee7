"""The documented payloads and the shapes they come in."""

import copy
import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
ID = "r_0e6ff48b91cfa02e97"
CUSTOMER = "cust_IdgAFZxYwwHctOk9pPuMu308"
ROLLBACK_ID = "rr_0e70cac29fee95aa7b"


def _example(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EXAMPLES / name).read_bytes())
    return content


_SUCCESS = _example("customer.redemption.succeeded.json")
_ROLLBACK = _example("customer.redemption.rollback.succeeded.json")


def a_success(**changes: Any) -> dict[str, Any]:
    """The documented success; `changes` go into its redemption."""
    data = copy.deepcopy(_SUCCESS)
    data["redemption"] |= {"id": ID} | changes
    return data


def a_rollback(**changes: Any) -> dict[str, Any]:
    """The documented rollback; `changes` go into its redemption_rollback."""
    data = copy.deepcopy(_ROLLBACK)
    data["redemption_rollback"] |= changes
    return data


def a_failure(**changes: Any) -> dict[str, Any]:
    redemption = {"id": "rf_0e6ff48b91cfa02e97", "result": "FAILURE", "status": "FAILED"} | changes
    return {"order": None, "voucher": None, "redemption": redemption}


def a_failed_rollback(**changes: Any) -> dict[str, Any]:
    data = a_rollback(id="rrf_0e70cac29fee95aa7b", result="FAILURE", status="FAILED")
    data["redemption"]["status"] = "ROLLED_BACK"
    data["redemption_rollback"] |= changes
    return data


def project(data: Any, type: Any, **event: Any) -> dict[str, Any]:
    return {
        "id": "whs_012345",
        "type": type,
        "source": {"id": "wh_1", "object": "webhook"},
        "event": {"id": "evred_1", "type": type} | event,
        "data": data,
    }


def distribution(data: Any, type: Any, **event: Any) -> dict[str, Any]:
    envelope = project(data, type, **event)
    return envelope | {"type": "Voucher-redeemed", "source": {"id": "distr_1", "object": "distribution"}}


def body(content: Any) -> bytes:
    return json.dumps(content).encode()
