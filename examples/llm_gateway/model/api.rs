//! The words of an answer in the events of each API.

use std::fmt::Write as _;

use axum::body::Bytes;
use serde_json::{Value, json};

/// An API, and what its events look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Api {
    /// [Chat completions](https://platform.openai.com/docs/api-reference/chat-streaming), whose
    /// events have no names.
    Chat,
    /// [Responses](https://platform.openai.com/docs/api-reference/responses-streaming).
    Responses,
    /// [Messages](https://docs.anthropic.com/en/docs/build-with-claude/streaming).
    Messages,
}

impl Api {
    /// The events before the first word.
    pub(super) fn begin(self) -> String {
        match self {
            Self::Chat => String::new(),
            Self::Responses => {
                let response = json!({ "id": "resp_1", "object": "response", "output": [] });
                named(&json!({
                    "type": "response.created",
                    "sequence_number": 0,
                    "response": response,
                }))
            }
            Self::Messages => {
                let message = self.whole(0);
                let begin = named(&json!({ "type": "message_start", "message": message }));
                let block = json!({ "type": "text", "text": "" });
                let block = named(&json!({
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": block,
                }));
                begin + &block
            }
        }
    }

    pub(super) fn word(self, n: usize) -> String {
        let word = format!("{n} ");
        match self {
            Self::Chat => chunk(&json!({ "content": word }), &Value::Null),
            Self::Responses => named(&json!({
                "type": "response.output_text.delta",
                "sequence_number": n + 1,
                "item_id": "msg_1",
                "output_index": 0,
                "content_index": 0,
                "delta": word,
            })),
            Self::Messages => named(&json!({
                "type": "content_block_delta",
                "index": 0,
                "delta": { "type": "text_delta", "text": word },
            })),
        }
    }

    /// The events after the last word.
    pub(super) fn end(self) -> Bytes {
        let end = match self {
            Self::Chat => chunk(&json!({}), &json!("stop")) + "data: [DONE]\n\n",
            Self::Responses => named(&json!({
                "type": "response.completed",
                "sequence_number": 1_000_000,
                "response": { "id": "resp_1", "object": "response", "output": [] },
            })),
            Self::Messages => {
                let block = named(&json!({ "type": "content_block_stop", "index": 0 }));
                let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
                let usage = json!({ "output_tokens": 1 });
                let delta =
                    named(&json!({ "type": "message_delta", "delta": delta, "usage": usage }));
                block + &delta + &named(&json!({ "type": "message_stop" }))
            }
        };
        end.into()
    }

    /// The answer to a request that does not ask for a stream.
    pub(super) fn whole(self, words: usize) -> Value {
        let mut text = String::new();
        for n in 0..words {
            let _ = write!(text, "{n} ");
        }
        match self {
            Self::Chat => json!({
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "words",
                "choices": [{
                    "index": 0,
                    "message": { "role": "assistant", "content": text },
                    "finish_reason": "stop",
                }],
            }),
            Self::Responses => json!({
                "id": "resp_1",
                "object": "response",
                "output": [{
                    "type": "message",
                    "id": "msg_1",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{ "type": "output_text", "text": text, "annotations": [] }],
                }],
            }),
            Self::Messages => json!({
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "words",
                "content": if words == 0 { json!([]) } else { json!([{ "type": "text", "text": text }]) },
                "stop_reason": null,
                "stop_sequence": null,
                "usage": { "input_tokens": 1, "output_tokens": words },
            }),
        }
    }

    /// In the order of the API, unlike what is made by `json!`.
    pub(super) fn error(self, message: &str) -> String {
        match self {
            Self::Chat | Self::Responses => format!(
                r#"{{"error":{{"message":"{message}","type":"server_error","code":null}}}}"#
            ),
            Self::Messages => format!(
                r#"{{"type":"error","error":{{"type":"api_error","message":"{message}"}}}}"#
            ),
        }
    }
}

fn chunk(delta: &Value, finish_reason: &Value) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish_reason });
    let chunk = json!({
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "words",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

/// An event that is named by the type of its data.
fn named(data: &Value) -> String {
    let name = data["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}
