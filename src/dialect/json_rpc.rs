//! Errors of JSON-RPC, which MCP and A2A have in common.

use super::Notice;
use crate::wire::json_string;

/// An [error](https://www.jsonrpc.org/specification#error_object) that responds to a request whose
/// id is not known.
pub(super) fn error(notice: &Notice) -> String {
    let (code, message) = (code(notice), json_string(&notice.message));
    format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"message":{message}}}}}"#)
}

/// `Internal error` where something failed, else the first of the codes that servers may choose.
fn code(notice: &Notice) -> i32 {
    match notice.status.as_u16() {
        500 | 502 | 504 => -32603,
        _ => -32000,
    }
}
