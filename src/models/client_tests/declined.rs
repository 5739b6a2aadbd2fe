//! Answers that are none: declined, blocked, or errors with the status of a success; and what another model's
//! turns look like to the next one.

use serde_json::{Value, json};

use super::*;

fn declined(stop: &str) -> Act {
    let start = json!({"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}});
    let end = json!({"delta": {"stop_reason": stop}, "usage": {"output_tokens": 1}});
    let events = vec![
        anthropic("message_start", start),
        anthropic("message_delta", end),
        anthropic("message_stop", json!({})),
    ];
    Act::Events(events, false)
}

#[tokio::test]
async fn who_declines_without_a_word_is_asked_once() {
    for role in [Role::Execute, Role::Chat] {
        let request = Request { role, ..question() };
        let (_, answer) = ask_kind("anthropic", [declined("refusal")], request.clone()).await;
        let refused = answer.unwrap_err();
        assert_eq!((refused.code(), refused.fault().is_retryable()), ("model_refused", false), "{role:?}");
        assert_eq!(refused.usage().unwrap().input_tokens, 7, "it is on the bill");
        let refused = ask_with([said("", "content_filter")], "", request).await.unwrap_err();
        assert_eq!(refused.code(), "model_refused", "{role:?}");
        let (_, answer) = ask_kind("anthropic", [declined("end_turn")], question()).await;
        assert_eq!(answer.unwrap_err().code(), "model_malformed", "it said nothing and was not stopped");
    }
    let gemini =
        json!({"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 3}});
    let (_, answer) =
        ask_kind("gemini", [Act::Events(vec![format!("data: {gemini}\n\n")], false)], question()).await;
    assert_eq!(answer.unwrap_err().code(), "model_refused");
}

#[tokio::test]
async fn a_prompt_that_gemini_does_not_show_to_its_model_is_refused_with_the_reason() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}});
    let (_, answer) =
        ask_kind("gemini", [Act::Events(vec![format!("data: {blocked}\n\n")], false)], question()).await;
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), "model_refused");
    assert!(refused.to_string().contains("PROHIBITED_CONTENT"), "{refused}");
}

#[tokio::test]
async fn an_error_with_the_status_of_a_success_is_an_error_and_the_server_still_streams() {
    let busy = || Act::Json(200, None, json!({"error": {"message": "Rate limit reached", "code": 429}}));
    let (server, url) = Server::start([busy(), busy(), said("hello", "stop")]).await;
    let models = models(&url, "").await;
    let ask = async || models.for_role(Role::Chat, None).unwrap().generate(question()).await;
    assert_eq!(ask().await.unwrap_err().code(), "provider_rate_limited");
    assert_eq!(ask().await.unwrap().text, "hello");
    let streams: Vec<_> = (0..3).map(|index| server.sent(index)["stream"].clone()).collect();
    assert_eq!(streams, [json!(true), json!(false), json!(true)]);
    let broken = Act::Json(200, None, json!({"error": "upstream connect error"}));
    let again = Act::Json(200, None, json!({"error": "upstream connect error"}));
    let error = ask_with([broken, again], "", question()).await.unwrap_err();
    assert_eq!(error.code(), "provider_unavailable");
    assert!(error.to_string().contains("upstream connect error"), "{error}");
}

#[tokio::test]
async fn the_turns_of_another_model_have_ids_that_anthropic_takes() {
    let call = |id: &str| Message::Assistant {
        text: String::new(),
        requests: vec![read_request(id), read_request(id)],
        thinking: None,
    };
    let mut request = with_tool();
    for id in ["functions.read:0", "call-1", "call-1"] {
        request.messages.extend([call(id), file(id), file(id)]);
    }
    let (server, answer) = ask_kind("anthropic", [declined("end_turn")], request).await;
    assert!(answer.is_err());
    let (mut asked, mut brought) = (Vec::new(), Vec::new());
    for message in server.sent(0)["messages"].as_array().unwrap() {
        for part in message["content"].as_array().into_iter().flatten() {
            let id = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
            match part["type"].as_str() {
                Some("tool_use") => asked.push(id("id")),
                Some("tool_result") => brought.push(id("tool_use_id")),
                _ => {}
            }
        }
    }
    let plain = |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    assert!(asked.len() == 6 && asked.iter().all(plain), "{asked:?}");
    assert_eq!(asked.iter().collect::<std::collections::HashSet<_>>().len(), 6, "{asked:?}");
    assert_eq!(asked, brought);
    let sent: Value = server.sent(0);
    assert!(!sent.to_string().contains("functions.read:0"));
}
