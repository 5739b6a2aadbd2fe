//! The client against servers on loopback that speak the providers' wire formats.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;
use axum::{Router, body};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};

use super::{Answer, Chunk, Message, ModelError, Models, ModelsConfig, Picture, Request, Role, ToolSpec};
use crate::task::ToolRequest;

mod declined;
mod thinking;

/// What the server does with one request.
enum Act {
    /// Answers with this status, header and JSON body.
    Json(u16, Option<(&'static str, &'static str)>, Value),
    /// Streams these events and then, if told so, never ends.
    Events(Vec<String>, bool),
    /// Shows a web page.
    Page,
    /// Never answers.
    Hang,
}

#[derive(Clone, Default)]
struct Server {
    acts: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    /// Starts a server that acts like this, one act per request.
    async fn start(acts: impl IntoIterator<Item = Act>) -> (Self, String) {
        let server = Self { acts: Arc::new(Mutex::new(acts.into_iter().collect())), ..Self::default() };
        let app = Router::new().fallback(serve).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (server, url)
    }

    fn sent(&self, index: usize) -> Value {
        self.seen.lock().unwrap()[index].1.clone()
    }
}

async fn serve(State(server): State<Server>, request: HttpRequest) -> Response {
    let path = request.uri().path().to_owned();
    let bytes = body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    server.seen.lock().unwrap().push((path, serde_json::from_slice(&bytes).unwrap()));
    let act = server.acts.lock().unwrap().pop_front().expect("an act for every request");
    match act {
        Act::Json(status, header, body) => {
            let response = Response::builder().status(status).header("content-type", "application/json");
            let response = header.into_iter().fold(response, |all, (name, value)| all.header(name, value));
            response.body(Body::from(body.to_string())).unwrap()
        }
        Act::Events(events, hangs) => {
            let events = stream::iter(events).map(|event| Ok::<_, Infallible>(Bytes::from(event)));
            let body = match hangs {
                true => Body::from_stream(events.chain(stream::pending())),
                false => Body::from_stream(events),
            };
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
        Act::Page => Response::builder().header("content-type", "text/html").body("<html>".into()).unwrap(),
        Act::Hang => std::future::pending().await,
    }
}

fn delta(delta: Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
}

fn finish(reason: &str) -> String {
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 8}});
    let choice = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    format!("data: {choice}\n\ndata: {}\n\ndata: [DONE]\n\n", json!({"choices": [], "usage": usage}))
}

fn said(text: &str, reason: &str) -> Act {
    Act::Events(vec![delta(json!({"content": text})), finish(reason)], false)
}

fn error(status: u16, message: &str) -> Act {
    Act::Json(status, None, json!({"error": {"message": message}}))
}

/// Models whose default is `openai/test-model` at the address.
async fn models(url: &str, config: &str) -> Models {
    let config: ModelsConfig = toml::from_str(&format!("default = 'openai/test-model'\n{config}")).unwrap();
    let url = url.to_owned();
    let environment = move |name: &str| match name {
        "OPENAI_BASE_URL" => Some(url.clone()),
        "OPENAI_API_KEY" => Some("sk-secret".to_owned()),
        _ => None,
    };
    Models::open(&config, &environment).await.unwrap()
}

async fn ask_with(
    acts: impl IntoIterator<Item = Act>,
    config: &str,
    request: Request,
) -> Result<Answer, ModelError> {
    let (_, url) = Server::start(acts).await;
    models(&url, config).await.for_role(request.role, None)?.generate(request).await
}

async fn ask(acts: impl IntoIterator<Item = Act>) -> Result<Answer, ModelError> {
    ask_with(acts, "", question()).await
}

fn question() -> Request {
    Request::new(Role::Execute, "the goal", "Be brief.", "Say hello.")
}

fn with_tool() -> Request {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let tool = ToolSpec { name: "read".to_owned(), description: "Reads.".to_owned(), schema };
    Request { tools: vec![tool], ..question() }
}

fn read_request(id: &str) -> ToolRequest {
    ToolRequest { id: id.to_owned(), tool: "read".to_owned(), arguments: json!({"path": "a"}) }
}

#[tokio::test]
async fn an_answer_has_text_and_usage_with_cached_tokens() {
    let answer = ask([said("hello", "stop")]).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.finish.as_str()), ("hello", "stop"));
    let usage = answer.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cached_tokens), (11, 3, 8));
    assert_eq!(usage.model_calls, 1);
}

#[tokio::test]
async fn a_stream_yields_reasoning_and_text_and_ends_with_the_answer() {
    let events = vec![
        ": loading\n\n".to_owned(),
        delta(json!({"reasoning_content": "hm"})),
        delta(json!({"content": "hel"})),
        delta(json!({"content": "lo"})),
        finish("stop"),
    ];
    let (server, url) = Server::start([Act::Events(events, false)]).await;
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    let pieces: Vec<_> = model.stream(question()).await.unwrap().map(Result::unwrap).collect().await;
    let [reasoning, first, second, Chunk::End(answer)] = pieces.as_slice() else { panic!("{pieces:?}") };
    assert_eq!(reasoning, &Chunk::Reasoning("hm".to_owned()));
    assert_eq!([first, second], [&Chunk::Text("hel".to_owned()), &Chunk::Text("lo".to_owned())]);
    assert_eq!(answer.text, "hello");
    assert_eq!(server.seen.lock().unwrap()[0].0, "/v1/chat/completions");
    assert_eq!(server.sent(0)["model"], "test-model");
    assert_eq!(server.sent(0)["messages"][0], json!({"role": "system", "content": "Be brief."}));
}

/// What a model said, as the next request holds it.
fn turn(answer: Answer) -> Message {
    let Answer { text, requests, thinking, .. } = answer;
    Message::Assistant { text, requests, thinking }
}

fn file(id: &str) -> Message {
    let (id, tool, content) = (id.to_owned(), "read".to_owned(), "the file".to_owned());
    Message::ToolResult { id, tool, content, is_error: false }
}

#[tokio::test]
async fn a_tool_call_is_assembled_from_its_pieces_and_goes_back_in_the_history() {
    let call = |function: Value| json!({"tool_calls": [{"index": 0, "id": "c1", "function": function}]});
    let pieces = vec![
        delta(call(json!({"name": "read", "arguments": "{\"pa"}))),
        delta(call(json!({"arguments": "th\": \"a\"}"}))),
        finish("tool_calls"),
    ];
    let (server, url) = Server::start([Act::Events(pieces, false), said("done", "stop")]).await;
    let model = models(&url, "").await.for_role(Role::Execute, None).unwrap();
    let mut request = with_tool();
    let answer = model.generate(request.clone()).await.unwrap();
    assert_eq!((&answer.requests, answer.finish.as_str()), (&vec![read_request("c1")], "tool-calls"));
    assert_eq!(server.sent(0)["tools"][0]["function"]["name"], "read");

    request.messages.push(turn(answer));
    request.messages.push(file("c1"));
    assert_eq!(model.generate(request).await.unwrap().text, "done");
    let messages = server.sent(1)["messages"].clone();
    assert_eq!(messages[2]["tool_calls"][0]["function"]["name"], "read");
    assert_eq!((&messages[3]["role"], &messages[3]["tool_call_id"]), (&json!("tool"), &json!("c1")));
}

#[tokio::test]
async fn tool_calls_written_as_text_count_only_if_tools_were_offered() {
    let text = r#"<tool_call>{"name": "read", "arguments": {"path": "a"}}</tool_call>"#;
    let answer = ask_with([said(text, "stop")], "", with_tool()).await.unwrap();
    assert_eq!((answer.requests, answer.finish.as_str()), (vec![read_request("text-call-1")], "tool-calls"));
    let answer = ask([said(text, "stop")]).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.requests.len()), (text, 0));
}

#[tokio::test]
async fn json_that_was_cut_is_malformed_and_whole_json_is_not() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "object"}}});
    let request = Request { schema: Some(schema.clone()), ..question() };
    let (server, url) = Server::start([said("{\"a\": {", "length"), said("{\"a\": {}}", "length")]).await;
    let model = models(&url, "").await.for_role(Role::Plan, None).unwrap();
    let cut = model.generate(request.clone()).await.unwrap_err();
    let spent = cut.usage().expect("it was made, and is on the bill");
    assert_eq!((cut.code(), spent.input_tokens, spent.output_tokens), ("model_malformed", 11, 3));
    assert!(spent.unpriced_calls == 1 || !spent.cost_usd.is_zero(), "{spent:?}");
    assert_eq!(cut.fault().usage, Some(Box::new(spent)));
    assert_eq!(model.generate(request).await.unwrap().finish, "length");
    assert_eq!(server.sent(0)["response_format"]["json_schema"]["schema"], schema);
}

#[tokio::test]
async fn failures_are_told_apart() {
    for (act, code) in [
        (error(401, "bad key"), "provider_unauthorized"),
        (error(429, "You exceeded your current quota"), "provider_quota"),
        (error(400, "maximum context length is 4096"), "context_overflow"),
        (error(404, "no such model"), "provider_rejected"),
        (error(500, "oops"), "provider_unavailable"),
        (said("", "stop"), "model_malformed"),
    ] {
        assert_eq!(ask([act]).await.unwrap_err().code(), code);
    }
    // Once as a stream and once as a whole, and not again.
    let error = ask([Act::Page, Act::Page]).await.unwrap_err();
    assert_eq!(error.code(), "provider_rejected", "{error}");
    assert!(error.to_string().contains("is OPENAI_BASE_URL right?"), "{error}");
    let limited = Act::Json(429, Some(("retry-after", "2")), json!({"error": {"message": "slow down"}}));
    assert_eq!(ask([limited]).await.unwrap_err().fault().retry_after_ms, Some(2000));
}

#[tokio::test]
async fn a_failure_in_the_place_of_a_stream_does_not_turn_streams_off_for_good() {
    let whole = || {
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "in one piece"}, "finish_reason": "stop"});
        Act::Json(
            200,
            None,
            json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
        )
    };
    let failure = error(200, "the upstream is busy");
    let acts = [failure].into_iter().chain((0..5).map(|_| whole()));
    let (server, url) = Server::start(acts.chain((0..2).map(|_| said("streamed", "stop")))).await;
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    let mut texts = Vec::new();
    for _ in 0..7 {
        texts.push(model.generate(question()).await.unwrap().text);
    }
    assert_eq!(texts, [["in one piece"; 5].as_slice(), &["streamed"; 2]].concat());
    let streams: Vec<bool> = (0..8).map(|index| server.sent(index)["stream"] == true).collect();
    assert_eq!(streams, [true, false, false, false, false, false, true, true]);
}

#[tokio::test]
async fn the_key_is_in_no_error() {
    let error = ask([error(401, "Incorrect API key provided: sk-secret")]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sk-secret"), "{error:?}");
}

#[tokio::test]
async fn an_unreachable_provider_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    assert_eq!(model.generate(question()).await.unwrap_err().code(), "provider_unavailable");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_malformed() {
    let cut = Act::Events(vec![delta(json!({"content": "hel"}))], false);
    let error = ask([cut]).await.unwrap_err();
    assert_eq!(error.code(), "model_malformed");
    assert!(error.to_string().contains("cut"), "{error}");
}

#[tokio::test]
async fn an_answer_that_goes_on_far_beyond_what_was_asked_for_is_not_read_to_its_end() {
    let piece = delta(json!({"content": "and on ".repeat(500)}));
    // After the last of these the server says nothing: who reads on waits in vain.
    let pieces = |count: usize| Act::Events(vec![piece.clone(); count], true);
    let mut short = question();
    short.max_output_tokens = Some(1_000);
    let cut = ask_with([pieces(40)], "", short.clone()).await.unwrap_err();
    let ModelError::BrokenOff { why, partial } = cut else { panic!("{}", cut.code()) };
    assert!(why.to_string().contains("longer than"), "{why}");
    assert!(partial.len() < 120_000, "{}", partial.len());
    let mut whole = vec![piece.clone(); 10];
    whole.push(finish("length"));
    let whole = ask_with([Act::Events(whole, false)], "", short).await.unwrap();
    assert_eq!(whole.text.len(), 35_000, "some models take their time to end");
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_ends_it() {
    let event = format!("data: {}\n\n", json!({"error": {"message": "overloaded", "code": 529}}));
    let (_, url) = Server::start([Act::Events(vec![delta(json!({"content": "a"})), event], false)]).await;
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    let pieces: Vec<_> = model.stream(question()).await.unwrap().collect().await;
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[1].as_ref().unwrap_err().code(), "provider_unavailable");
}

#[tokio::test]
async fn each_deadline_has_its_own_code() {
    let first = ask_with([Act::Hang], "timeouts = { firstByteMs = 20 }", question()).await;
    assert_eq!(first.unwrap_err().code(), "provider_timeout_first_byte");
    let started = || Act::Events(vec![delta(json!({"content": "a"}))], true);
    let chunk = ask_with([started()], "timeouts = { betweenChunksMs = 20 }", question()).await;
    assert_eq!(chunk.unwrap_err().code(), "provider_timeout_chunk");
    let total = ask_with([started()], "timeouts = { totalMs = 50 }", question()).await;
    assert_eq!(total.unwrap_err().code(), "provider_timeout_total");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_asked_again_without_and_remembered() {
    let whole = |text: &str| {
        let choice =
            json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}});
        let usage = json!({"prompt_tokens": 5, "completion_tokens": 1});
        Act::Json(200, None, json!({"choices": [choice], "usage": usage}))
    };
    let (server, url) = Server::start([whole("ignored"), whole("one"), whole("two")]).await;
    let models = models(&url, "").await;
    for expected in ["one", "two"] {
        let answer = models.for_role(Role::Chat, None).unwrap().generate(question()).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.usage.input_tokens), (expected, 5));
    }
    let streams: Vec<_> = (0..3).map(|index| server.sent(index)["stream"].clone()).collect();
    assert_eq!(streams, [json!(true), json!(false), json!(false)]);
}

#[tokio::test]
async fn a_server_that_refuses_schemas_is_told_in_words() {
    let refusal = || error(400, "This response_format type is unavailable now");
    let (server, url) = Server::start([refusal(), said("{}", "stop"), said("{}", "stop")]).await;
    let models = models(&url, "").await;
    let request = Request { schema: Some(json!({"type": "object"})), ..question() };
    for _ in 0..2 {
        let model = models.for_role(Role::Plan, None).unwrap();
        assert_eq!(model.generate(request.clone()).await.unwrap().text, "{}");
    }
    assert_eq!(server.sent(2).get("response_format"), None);
    assert!(server.sent(2)["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"));
}

fn shown() -> Request {
    let mut request = Request { background: "Be brief.".into(), ..question() };
    let picture =
        |name: &str| Picture { name: name.into(), media_type: "image/png".into(), data: "aGVsbG8=".into() };
    request.messages.extend([picture("a.png"), picture("b.png")].map(Message::Picture));
    request
}

#[tokio::test]
async fn a_picture_goes_with_the_words_before_it() {
    let (server, url) = Server::start([said("a cat", "stop")]).await;
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    let answer = model.generate(shown()).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.without_pictures), ("a cat", false));
    let message = &server.sent(0)["messages"][1];
    assert!(message["content"][0]["text"].as_str().unwrap().starts_with("Be brief."), "{message}");
    let urls = [1, 2].map(|at| message["content"][at]["image_url"]["url"].clone());
    assert_eq!(urls, [json!("data:image/png;base64,aGVsbG8="), json!("data:image/png;base64,aGVsbG8=")]);
}

#[tokio::test]
async fn a_model_that_refuses_pictures_is_told_of_them() {
    let refusal = error(400, "messages.1.content must be a string");
    let (server, url) = Server::start([refusal, said("I cannot see it", "stop")]).await;
    let model = models(&url, "").await.for_role(Role::Chat, None).unwrap();
    let answer = model.generate(shown()).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.without_pictures), ("I cannot see it", true));
    let content = server.sent(1)["messages"][1]["content"].to_string();
    assert!(content.contains("a picture that you cannot see: b.png, image/png"), "{content}");
    assert!(!content.contains("aGVsbG8="), "{content}");
}

#[tokio::test]
async fn what_nobody_reports_is_reckoned() {
    let silent = Act::Events(
        vec![
            delta(json!({"content": "x".repeat(1000)})),
            format!(
                "data: {}\n\ndata: [DONE]\n\n",
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            ),
        ],
        false,
    );
    let request = Request { background: "y".repeat(10_000), ..question() };
    let usage = ask_with([silent], "", request).await.unwrap().usage;
    assert!(usage.input_tokens > 3_000 && usage.output_tokens > 300, "{usage:?}");
}

#[tokio::test]
async fn what_a_filter_left_is_an_answer_to_people_and_to_nobody_else() {
    let talk = Request { role: Role::Chat, ..question() };
    let talk = ask_with([said("Half of the ans", "content_filter")], "", talk).await.unwrap();
    assert_eq!(talk.text, "Half of the ans");
    let refused = ask_with([said("Half of the ans", "content_filter")], "", question()).await.unwrap_err();
    assert_eq!(refused.code(), "model_refused");
    assert!(refused.to_string().contains("content-filter: Half of the ans"), "{refused}");
    let acts = [said("Half of the ans", "content_filter"), said("from the second", "stop")];
    let answer = ask_with(acts, "fallback = ['openai/second']", question()).await.unwrap();
    assert_eq!(answer.text, "from the second");
}

#[tokio::test]
async fn the_fallback_answers_when_the_first_is_in_trouble() {
    let acts = [error(503, "overloaded"), said("from the second", "stop")];
    let answer = ask_with(acts, "fallback = ['openai/second']", question()).await.unwrap();
    assert_eq!(answer.text, "from the second");
}

#[tokio::test]
async fn model_names_are_sent_as_they_are() {
    let (server, url) = Server::start([said("a", "stop"), said("b", "stop")]).await;
    let models = models(&url, "").await;
    for (index, name) in ["qwen-max", "org/model::free"].into_iter().enumerate() {
        let wanted = format!("openai/{name}").parse().unwrap();
        models.for_role(Role::Chat, Some(&wanted)).unwrap().generate(question()).await.unwrap();
        assert_eq!(server.sent(index)["model"], name);
        assert_eq!(server.sent(index).get("reasoning_effort"), None);
    }
}

/// Models whose provider `kind` is at the address.
async fn ask_kind(
    kind: &str,
    acts: impl IntoIterator<Item = Act>,
    request: Request,
) -> (Server, Result<Answer, ModelError>) {
    let (server, url) = Server::start(acts).await;
    let config = format!(
        "default = 'own/some-model'\n[providers.own]\nkind = '{kind}'\nbaseUrl = '{url}'\napiKeyEnv = 'OWN_KEY'"
    );
    let config: ModelsConfig = toml::from_str(&config).unwrap();
    let environment = |name: &str| (name == "OWN_KEY").then(|| "sk-own".to_owned());
    let models = Models::open(&config, &environment).await.unwrap();
    let answer = models.for_role(request.role, None).unwrap().generate(request).await;
    (server, answer)
}

fn anthropic(name: &str, data: Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[tokio::test]
async fn anthropic_answers_are_understood() {
    let start = json!({"type": "message_start", "message": {"usage":
        {"input_tokens": 4, "cache_read_input_tokens": 6, "output_tokens": 1}}});
    let call = json!({"type": "tool_use", "id": "t1", "name": "read", "input": {}});
    let arguments = json!({"type": "input_json_delta", "partial_json": "{\"path\":\"a\"}"});
    let events = vec![
        anthropic("message_start", start),
        anthropic("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
        anthropic(
            "content_block_delta",
            json!({"index": 0, "delta": {"type": "text_delta", "text": "I look."}}),
        ),
        anthropic("content_block_stop", json!({"index": 0})),
        anthropic("content_block_start", json!({"index": 1, "content_block": call})),
        anthropic("content_block_delta", json!({"index": 1, "delta": arguments})),
        anthropic("content_block_stop", json!({"index": 1})),
        anthropic(
            "message_delta",
            json!({"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        ),
        anthropic("message_stop", json!({})),
    ];
    let (server, answer) = ask_kind("anthropic", [Act::Events(events, false)], with_tool()).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text.as_str(), answer.requests), ("I look.", vec![read_request("t1")]));
    assert_eq!(
        (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens),
        (10, 6, 9)
    );
    assert_eq!(server.seen.lock().unwrap()[0].0, "/v1/messages");
}

#[tokio::test]
async fn anthropic_overload_is_unavailable_and_a_cut_is_malformed() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let (_, answer) = ask_kind("anthropic", [Act::Json(529, None, overloaded)], question()).await;
    assert_eq!(answer.unwrap_err().code(), "provider_unavailable");
    let start = anthropic("message_start", json!({"message": {"usage": {"input_tokens": 1}}}));
    let (_, answer) = ask_kind("anthropic", [Act::Events(vec![start], false)], question()).await;
    assert_eq!(answer.unwrap_err().code(), "model_malformed");
}

#[tokio::test]
async fn gemini_answers_are_understood_and_its_cut_is_seen() {
    let part = |finish: Option<&str>| {
        let candidate = json!({"content": {"parts": [{"text": "hi"}]}, "finishReason": finish});
        let candidate = match finish {
            Some(_) => candidate,
            None => json!({"content": candidate["content"]}),
        };
        let usage = json!({"promptTokenCount": 3, "candidatesTokenCount": 1});
        format!("data: {}\n\n", json!({"candidates": [candidate], "usageMetadata": usage}))
    };
    let (_, answer) = ask_kind("gemini", [Act::Events(vec![part(Some("STOP"))], false)], question()).await;
    assert_eq!(answer.unwrap().text, "hi");
    let (_, answer) = ask_kind("gemini", [Act::Events(vec![part(None)], false)], question()).await;
    assert_eq!(answer.unwrap_err().code(), "model_malformed");
}

#[tokio::test]
async fn ollama_is_called_through_its_compatible_interface() {
    let (server, answer) = ask_kind("ollama", [said("hi", "stop")], question()).await;
    assert_eq!(answer.unwrap().text, "hi");
    assert_eq!(server.seen.lock().unwrap()[0].0, "/v1/chat/completions");
}
