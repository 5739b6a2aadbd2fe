//! WebSockets over a real connection.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::super::fixture::{Fixture, USER};
use super::super::{Access, ServerConfig, serve};
use crate::models::Heard;
use crate::orchestrator::Speaking;
use crate::task::Task;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that listens; its address.
async fn listening(fixture: &Fixture) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, fixture.router(), fixture.shutdown.clone()));
    address
}

async fn connected(address: &str, path: &str) -> Socket {
    connect_async(format!("ws://{address}{path}")).await.unwrap().0
}

/// The next frame that is text; none once the connection is closed.
async fn next(socket: &mut Socket) -> Option<Value> {
    let listening = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("something is said")
}

async fn say(socket: &mut Socket, command: Value) {
    socket.send(Message::text(command.to_string())).await.unwrap();
}

/// The frames about tasks, and the control frame behind them.
async fn until_control(socket: &mut Socket) -> (Vec<i64>, Value) {
    let mut numbers = Vec::new();
    loop {
        let frame = next(socket).await.expect("a control frame");
        match frame["seq"].as_i64().filter(|_| frame.get("control").is_none()) {
            Some(seq) => numbers.push(seq),
            None => return (numbers, frame),
        }
    }
}

#[tokio::test]
async fn the_journal_of_a_task_is_told_to_its_end() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let address = listening(&fixture).await;
    let mut socket = connected(&address, &format!("/api/tasks/{}/ws?after=1", task.id)).await;
    let first = next(&mut socket).await.unwrap();
    let (_, events) = (first["seq"].clone(), fixture.get(&format!("/api/tasks/{}/traces", task.id)).await);
    assert_eq!(first, events.json()["traces"][1], "the same as everywhere");
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    let (numbers, control) = until_control(&mut socket).await;
    assert_eq!(numbers, [3, 4]);
    assert_eq!(control, json!({"control": "ended", "taskId": task.id, "seq": 4}));
    assert_eq!(next(&mut socket).await, None, "and then it is closed");
}

#[tokio::test]
async fn one_connection_follows_many_tasks_from_anywhere() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.task("one").await, fixture.task("other").await);
    let mut socket = connected(&listening(&fixture).await, "/api/ws").await;
    say(&mut socket, json!({"command": "subscribe", "taskId": one.id, "after": 2})).await;
    let frame = next(&mut socket).await.unwrap();
    assert_eq!(frame, json!({"control": "subscribed", "taskId": one.id, "seq": 3}));
    let frame = next(&mut socket).await.unwrap();
    assert_eq!((&frame["taskId"], &frame["seq"]), (&json!(one.id), &json!(3)));
    say(&mut socket, json!({"command": "subscribe", "taskId": other.id, "after": 3})).await;
    assert_eq!(next(&mut socket).await.unwrap()["control"], "subscribed");
    say(&mut socket, json!({"command": "unsubscribe", "taskId": one.id})).await;
    // Whatever is answered to this is said after the unsubscription.
    say(&mut socket, json!({"command": "dance"})).await;
    let refused = next(&mut socket).await.unwrap();
    assert_eq!(
        (&refused["control"], &refused["problem"]["code"]),
        (&json!("refused"), &json!("invalid_request"))
    );
    fixture.orchestrator.cancel(one.id, USER).await.unwrap();
    fixture.orchestrator.cancel(other.id, USER).await.unwrap();
    let (numbers, control) = until_control(&mut socket).await;
    assert_eq!(
        (numbers, &control["control"], &control["taskId"]),
        (vec![4], &json!("ended"), &json!(other.id))
    );
}

#[tokio::test]
async fn tasks_of_others_are_not_told() {
    let fixture = Fixture::new().await;
    let theirs = fixture.task_of("somebody", "theirs").await;
    let address = listening(&fixture).await;
    let mut socket = connected(&address, "/api/ws").await;
    say(&mut socket, json!({"command": "subscribe", "taskId": theirs.id})).await;
    let refused = next(&mut socket).await.unwrap();
    assert_eq!((&refused["control"], &refused["problem"]["status"]), (&json!("refused"), &json!(403)));
    say(&mut socket, json!({"command": "subscribe-tasks"})).await;
    assert_eq!(next(&mut socket).await.unwrap(), json!({"control": "tasks", "tasks": []}));
    let path = format!("ws://{address}/api/tasks/{}/ws", theirs.id);
    assert!(matches!(connect_async(path).await, Err(Error::Http(reply)) if reply.status() == 403));
}

#[tokio::test]
async fn how_all_tasks_stand_is_told_live() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let mut socket = connected(&listening(&fixture).await, "/api/ws").await;
    say(&mut socket, json!({"command": "subscribe-tasks"})).await;
    let all = next(&mut socket).await.unwrap();
    assert_eq!((&all["control"], &all["tasks"][0]["id"]), (&json!("tasks"), &json!(task.id)));
    let new = fixture.task("new").await;
    let told = until_told(&mut socket, &new, "pending").await;
    assert_eq!(told["task"]["goal"], "new");
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    until_told(&mut socket, &task, "cancelled").await;
}

async fn until_told(socket: &mut Socket, task: &Task, status: &str) -> Value {
    loop {
        let frame = next(socket).await.unwrap();
        assert_eq!(frame["control"], "task");
        if frame["task"]["id"] == json!(task.id) && frame["task"]["status"] == status {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_thousand_clients_follow_one_task_over_one_feed() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let address = listening(&fixture).await;
    let path = format!("/api/tasks/{}/ws?after=3", task.id);
    let clients = futures::future::join_all((0..1000).map(|_| connected(&address, &path))).await;
    assert_eq!(fixture.state.feeds.count(), 1);
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    for mut client in clients {
        let (numbers, control) = until_control(&mut client).await;
        assert_eq!((numbers, &control["control"]), (vec![4], &json!("ended")));
    }
}

/// A connection with room for a few frames: what is not read soon waits in the server.
async fn narrow(fixture: &Fixture, path: &str) -> Socket {
    let (listener, stream) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    listener.set_send_buffer_size(4096).unwrap();
    stream.set_recv_buffer_size(4096).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, fixture.router(), fixture.shutdown.clone()));
    let stream = MaybeTlsStream::Plain(stream.connect(address).await.unwrap());
    client_async(format!("ws://{address}{path}"), stream).await.unwrap().0
}

#[tokio::test]
async fn who_does_not_read_is_told_where_to_go_on_and_misses_nothing() {
    const TURNS: i64 = 250;
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let mut socket = narrow(&fixture, &format!("/api/tasks/{}/ws", task.id)).await;
    let feed = fixture.state.feeds.feed(&task);
    for seq in 1..=3 {
        assert_eq!(next(&mut socket).await.unwrap()["seq"], seq);
    }
    for _ in 0..TURNS {
        fixture.orchestrator.pause(task.id, USER).await.unwrap();
        fixture.orchestrator.resume(task.id, USER).await.unwrap();
    }
    let last = 3 + 2 * TURNS;
    while feed.told() < last {
        tokio::task::yield_now().await;
    }
    let (read, control) = until_control(&mut socket).await;
    let seq = control["seq"].as_i64().unwrap();
    assert_eq!(control, json!({"control": "resync", "taskId": task.id, "seq": seq}));
    assert_eq!(read, (4..=seq).collect::<Vec<_>>());
    assert!(seq < last, "it was dropped before the end");
    assert_eq!(next(&mut socket).await, None);
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    let path = format!("/api/tasks/{}/ws?after={seq}", task.id);
    let (rest, control) = until_control(&mut connected(&listening(&fixture).await, &path).await).await;
    assert_eq!((rest, &control["control"]), ((seq + 1..=last + 1).collect(), &json!("ended")));
}

#[tokio::test]
async fn a_shutdown_says_where_to_go_on() {
    let fixture = Fixture::new().await;
    let task = fixture.task("g").await;
    let mut socket = connected(&listening(&fixture).await, &format!("/api/tasks/{}/ws", task.id)).await;
    for seq in 1..=3 {
        assert_eq!(next(&mut socket).await.unwrap()["seq"], seq);
    }
    fixture.shutdown.cancel();
    let cut = next(&mut socket).await.unwrap();
    assert_eq!(cut, json!({"control": "cut", "taskId": task.id, "seq": 3}));
    assert_eq!(next(&mut socket).await, None);
}

#[tokio::test]
async fn only_websockets_of_ones_own_pages_come_in() {
    let fixture = Fixture::new().await;
    let address = listening(&fixture).await;
    let request = |origin: &str| {
        let mut request = format!("ws://{address}/api/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request
    };
    assert!(connect_async(request(&format!("http://{address}"))).await.is_ok());
    let foreign = connect_async(request("https://evil.example")).await;
    assert!(matches!(foreign, Err(Error::Http(reply)) if reply.status() == 403));
    let plain = fixture.get("/api/ws").await;
    assert_eq!(super::problem(&plain), super::refused(426, "upgrade_required"));
}

#[tokio::test]
async fn a_browser_brings_the_key_as_a_subprotocol() {
    let access = Access::new(Some("s3cret".into()), None);
    let fixture = Fixture::with(access, ServerConfig::default(), json!([])).await;
    let address = listening(&fixture).await;
    let request = |protocols: &str| {
        let mut request = format!("ws://{address}/api/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request
    };
    let (_, reply) = connect_async(request("longhaul, bearer.733363726574")).await.unwrap();
    assert_eq!(reply.headers()["sec-websocket-protocol"], "longhaul", "the key is not repeated");
    let refused = connect_async(request("longhaul")).await;
    assert!(matches!(refused, Err(Error::Http(reply)) if reply.status() == 401));
}

#[tokio::test]
async fn what_a_model_says_is_heard_on_every_stream_and_has_no_number() {
    let fixture = Fixture::new().await;
    let address = listening(&fixture).await;
    let task = fixture.task("one").await;
    let speaking = Speaking { task_id: task.id, step: 1, call: 1, attempt: 1 };
    let speaker = fixture.orchestrator.speech().begin(speaking);
    speaker.say(Heard::Text("It "));
    let mut one = connected(&address, &format!("/api/tasks/{}/ws?after=3", task.id)).await;
    let mut many = connected(&address, "/api/ws").await;
    say(&mut many, json!({"command": "subscribe", "taskId": task.id, "after": 3})).await;
    assert_eq!(next(&mut many).await.unwrap()["control"], "subscribed");
    for socket in [&mut one, &mut many] {
        let said = next(socket).await.unwrap();
        assert_eq!(said["control"], "said");
        assert_eq!(
            (&said["taskId"], &said["step"], &said["text"]),
            (&json!(task.id), &json!(1), &json!("It "))
        );
    }
    speaker.say(Heard::Text("is."));
    for socket in [&mut one, &mut many] {
        let said = next(socket).await.unwrap();
        assert_eq!((&said["from"], &said["to"], &said["text"]), (&json!(1), &json!(2), &json!("is.")));
        assert!(said.get("seq").is_none());
    }
    drop(speaker);
    fixture.orchestrator.cancel(task.id, USER).await.unwrap();
    let (numbers, control) = until_control(&mut one).await;
    assert_eq!((numbers, &control["control"]), (vec![4], &json!("ended")));
}
