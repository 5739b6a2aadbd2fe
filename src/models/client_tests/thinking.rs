//! What models thought goes back to them, in the way of each provider.

use serde_json::{Value, json};

use super::*;
use crate::models::{Thinking, Thought};

fn thinks_and_calls() -> Act {
    let call =
        json!({"index": 0, "id": "c1", "function": {"name": "read", "arguments": "{\"path\": \"a\"}"}});
    let pieces = vec![
        delta(json!({"role": "assistant", "content": null, "reasoning_content": ""})),
        delta(json!({"reasoning_content": "The file "})),
        delta(json!({"reasoning_content": "will tell."})),
        delta(json!({"tool_calls": [call]})),
        finish("tool_calls"),
    ];
    Act::Events(pieces, false)
}

#[tokio::test]
async fn what_a_model_thought_goes_back_once_its_server_asks_for_it() {
    const MISSED: &str = "The `reasoning_content` in the thinking mode must be passed back to the API.";
    let acts = [thinks_and_calls(), error(400, MISSED), said("done", "stop"), said("done", "stop")];
    let (server, url) = Server::start(acts).await;
    let models = models(&url, "").await;
    let ask = async |request: &Request| {
        models.for_role(Role::Execute, None).unwrap().generate(request.clone()).await.unwrap()
    };
    let mut request = with_tool();
    let other = Answer { requests: vec![read_request("c0")], ..Answer::text("I look.") };
    request.messages.extend([turn(other), file("c0")]);
    let answer = ask(&request).await;
    let thinking = answer.thinking.clone().unwrap();
    assert_eq!(thinking.thoughts, [Thought::Words("The file will tell.".into())]);
    request.messages.extend([turn(answer), file("c1")]);
    assert_eq!(ask(&request).await.text, "done");
    // Others refuse the field, so nobody is sent it unasked.
    let thought = |index: usize, message: usize| {
        server.sent(index)["messages"][message].get("reasoning_content").cloned()
    };
    assert_eq!((thought(1, 2), thought(1, 4)), (None, None));
    // Who asks for it wants it of each turn, also of one that another model had.
    let (own, filled) = (json!("The file will tell."), json!(" "));
    assert_eq!((thought(2, 4), thought(2, 2)), (Some(own.clone()), Some(filled)));
    ask(&request).await;
    assert_eq!(thought(3, 4), Some(own), "it is remembered");
}

#[tokio::test]
async fn what_a_gateway_tells_of_thoughts_goes_back_as_it_came() {
    let call =
        json!({"index": 0, "id": "c1", "function": {"name": "read", "arguments": "{\"path\": \"a\"}"}});
    let sealed = json!({"type": "reasoning.encrypted", "data": "sealed", "id": "c1", "index": 0});
    let pieces = vec![
        delta(json!({"reasoning": "Hm.", "reasoning_details": [sealed]})),
        delta(json!({"tool_calls": [call]})),
        finish("tool_calls"),
    ];
    let (server, url) = Server::start([Act::Events(pieces, false), said("done", "stop")]).await;
    let model = models(&url, "").await.for_role(Role::Execute, None).unwrap();
    let mut request = with_tool();
    let answer = model.generate(request.clone()).await.unwrap();
    request.messages.extend([turn(answer), file("c1")]);
    assert_eq!(model.generate(request).await.unwrap().text, "done");
    let back = server.sent(1)["messages"][2].clone();
    assert_eq!((&back["reasoning_details"], back.get("reasoning_content")), (&json!([sealed]), None));
}

#[tokio::test]
async fn what_nobody_takes_back_is_left_out() {
    let answered =
        json!({"candidates": [{"content": {"parts": [{"text": "done"}]}, "finishReason": "STOP"}]});
    let refused = error(400, "Invalid `signature` in `thinking` block");
    let acts = [refused, Act::Events(vec![format!("data: {answered}\n\n")], false)];
    let mut request = with_tool();
    let thoughts = vec![Thought::CallSeal { call: 0, seal: "sealed".into() }];
    let thinking = Some(Box::new(Thinking { model: "own/some-model".parse().unwrap(), thoughts }));
    let answer = Answer { thinking, requests: vec![read_request("c1")], ..Answer::text("") };
    request.messages.extend([turn(answer), file("c1")]);
    let (server, answer) = ask_kind("gemini", acts, request).await;
    assert_eq!(answer.unwrap().text, "done");
    let seal = |index: usize| server.sent(index)["contents"][1]["parts"][0].get("thoughtSignature").cloned();
    assert_eq!((seal(0), seal(1)), (Some(json!("sealed")), None));
}

#[tokio::test]
async fn what_anthropic_sealed_goes_back_before_the_call() {
    let delta = |index: usize, delta: Value| {
        anthropic("content_block_delta", json!({"index": index, "delta": delta}))
    };
    let begin = |index: usize, block: Value| {
        anthropic("content_block_start", json!({"index": index, "content_block": block}))
    };
    let end = |index: usize| anthropic("content_block_stop", json!({"index": index}));
    let redacted = json!({"type": "redacted_thinking", "data": "hidden"});
    let events = vec![
        anthropic(
            "message_start",
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 4}}}),
        ),
        begin(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "The file will tell."})),
        delta(0, json!({"type": "signature_delta", "signature": "sealed"})),
        end(0),
        begin(1, redacted.clone()),
        end(1),
        begin(2, json!({"type": "tool_use", "id": "t1", "name": "read", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"path\":\"a\"}"})),
        end(2),
        anthropic(
            "message_delta",
            json!({"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        ),
        anthropic("message_stop", json!({})),
    ];
    let (_, answer) = ask_kind("anthropic", [Act::Events(events, false)], with_tool()).await;
    let mut request = with_tool();
    request.messages.extend([turn(answer.unwrap()), file("t1")]);
    let (server, _) = ask_kind("anthropic", [error(500, "enough")], request).await;
    let content = server.sent(0)["messages"][1]["content"].clone();
    let thought = json!({"type": "thinking", "thinking": "The file will tell.", "signature": "sealed"});
    assert_eq!((&content[0], &content[1], &content[2]["type"]), (&thought, &redacted, &json!("tool_use")));
}

#[tokio::test]
async fn what_gemini_sealed_goes_back_with_the_call() {
    let call = json!({"functionCall": {"name": "read", "args": {"path": "a"}}, "thoughtSignature": "sealed"});
    let more = json!({"functionCall": {"name": "read", "args": {"path": "b"}}});
    let answered = json!({"candidates": [{"content": {"parts": [call, more]}, "finishReason": "STOP"}]});
    let (_, answer) =
        ask_kind("gemini", [Act::Events(vec![format!("data: {answered}\n\n")], false)], with_tool()).await;
    let answer = answer.unwrap();
    let ids: Vec<String> = answer.requests.iter().map(|request| request.id.clone()).collect();
    let mut request = with_tool();
    request.messages.extend([turn(answer), file(&ids[0]), file(&ids[1])]);
    let (server, _) = ask_kind("gemini", [error(500, "enough")], request).await;
    let parts = server.sent(0)["contents"][1]["parts"].clone();
    assert_eq!((&parts[0]["thoughtSignature"], parts[1].get("thoughtSignature")), (&json!("sealed"), None));
}
