//! What is written is read, and nothing else is.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::task::{Event, Plan, PlannedStep, Planner, Status, StepType, Timestamp};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

/// A task of one step with a large output.
fn recorded() -> (TaskId, Vec<Entry>, Vec<Value>) {
    let id = TaskId(Uuid::from_u128(7));
    let spec = json!({"goal": "g", "userId": "anna", "threadId": "home", "imported": true});
    let spec = Box::new(serde_json::from_value(spec).unwrap());
    let created = Entry { seq: 1, epoch: 0, at: at(0), event: Event::Created { spec } };
    let mut task = Task::begin(id, &created).unwrap();
    let plan = Plan { steps: vec![PlannedStep::new("step-1", StepType::LlmReasoning, "Think")] };
    let text = json!({"text": "é".repeat(2000), "number": 0.1, "after": {"b": 1, "a": 2}});
    let mut output = Payload::Inline(text.clone());
    output.seal();
    let events = [
        Event::Planned { revision: 1, plan, by: Planner::default(), tools: None },
        Event::StepStarted { step: 0, attempt: 1 },
        Event::StepCompleted { step: 0, output: Some(output.clone()) },
        Event::Completed { output },
    ];
    let mut entries = vec![created];
    for (number, event) in (1..).zip(events) {
        entries.push(task.record(at(number), event).unwrap());
    }
    (id, entries, vec![text])
}

fn written() -> String {
    let (id, entries, contents) = recorded();
    let text = RecordingText::of(id, &entries).unwrap();
    assert_eq!(text.contents, [Payload::Inline(contents[0].clone()).hash()]);
    let content = RecordingText::content_line(text.contents[0], Some(&contents[0]));
    text.lines.join("\n") + "\n" + &content + "\n"
}

fn code(text: &str) -> &'static str {
    Recording::read(text).unwrap_err().code()
}

#[test]
fn what_is_written_is_read_but_for_whose_it_is() {
    let (id, entries, contents) = recorded();
    let read = Recording::read(&written()).unwrap();
    assert_eq!((read.id, read.entries.len(), read.missing()), (id, 5, 0));
    assert_eq!(read.entries[1..], entries[1..]);
    let Event::Created { spec } = &read.entries[0].event else { panic!() };
    assert_eq!((spec.user_id.as_str(), spec.thread_id.as_str(), spec.imported), ("", "", false));
    let text = written();
    assert!(!text.contains("anna") && !text.contains("home"), "{text}");
    let Event::Completed { output } = &read.opened()[4].event else { panic!() };
    assert_eq!(*output, Payload::Inline(contents[0].clone()));
    assert_eq!(
        RecordingText::of(id, &read.entries).unwrap().lines,
        RecordingText::of(id, &entries).unwrap().lines
    );
}

#[test]
fn a_content_that_was_missing_is_said_to_be() {
    let (id, entries, _) = recorded();
    let text = RecordingText::of(id, &entries).unwrap();
    let whole = text.lines.join("\n") + "\n" + &RecordingText::content_line(text.contents[0], None);
    let read = Recording::read(&whole).unwrap();
    assert_eq!(read.missing(), 1);
    let Event::Completed { output } = &read.opened()[4].event else { panic!() };
    assert!(output.preview().contains("is missing"), "{output:?}");
}

#[test]
fn a_cut_file_says_where_it_is_cut() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    for kept in 1..lines.len() {
        let error = Recording::read(&lines[..kept].join("\n")).unwrap_err();
        assert_eq!(error, RecordingError::Cut { line: kept as u64 + 1 });
        let within = lines[..kept].join("\n") + "\n" + &lines[kept][..lines[kept].len() / 2];
        assert_eq!(Recording::read(&within).unwrap_err(), RecordingError::Cut { line: kept as u64 + 1 });
    }
    assert_eq!(code(""), "recording_unknown");
}

#[test]
fn whatever_is_changed_is_noticed() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    for (position, (from, to)) in [
        (1, ("\"goal\":\"g\"", "\"goal\":\"h\"")),
        (4, ("\"attempt\":1", "\"attempt\":1 ")),
        (6, ("\"number\":0.1", "\"number\":0.2")),
        (0, ("\"status\":\"completed\"", "\"status\":\"failed\"")),
        (0, ("00000007", "00000008")),
    ]
    .map(|(line, change)| (if line == 4 { 3 } else { line }, change))
    {
        assert!(lines[position].contains(from), "{}", lines[position]);
        let changed = lines[position].replace(from, to);
        let mut altered = lines.clone();
        altered[position] = &changed;
        assert_eq!(code(&altered.join("\n")), "recording_altered", "{changed}");
    }
    assert_eq!(code(&(text.clone() + lines[6])), "recording_altered", "there is more");
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(code(&swapped.join("\n")), "recording_altered");
}

/// The file with another journal, under a header that is right.
fn forged(change: impl Fn(&mut Vec<Entry>)) -> String {
    let (id, mut entries, contents) = recorded();
    let good = RecordingText::of(id, &entries).unwrap();
    change(&mut entries);
    let lines: Vec<String> = entries.iter().map(entry_line).collect();
    let mut header: Value = serde_json::from_str(&good.lines[0]).unwrap();
    header["entries"] = json!(entries.len());
    header["sha256"] = json!(hash(id, lines.iter().map(String::as_str), good.contents.iter()));
    let content = RecordingText::content_line(good.contents[0], Some(&contents[0]));
    [header.to_string()].into_iter().chain(lines).chain([content]).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_cannot_have_happened_is_refused_whatever_the_header_says() {
    assert!(Recording::read(&forged(|_| ())).is_ok());
    assert_eq!(
        code(&forged(|entries| entries[2].event = Event::StepStarted { step: 9, attempt: 1 })),
        "recording_illegal"
    );
    assert_eq!(code(&forged(|entries| entries[3].seq = 9)), "recording_illegal");
    assert_eq!(code(&forged(|entries| drop(entries.remove(0)))), "recording_illegal");
    assert_eq!(
        code(&forged(|entries| drop(entries.drain(3..)))),
        "recording_altered",
        "the content is foreign"
    );
    let undone = vec![(0, u32::MAX); 1000];
    assert_eq!(
        code(&forged(|entries| {
            let undone = undone.clone();
            let (plan, notice) = (Plan::default(), Payload::text(""));
            entries[3].event = Event::Restored {
                checkpoint: 1,
                revision: 2,
                undone,
                plan,
                summary: None,
                notice,
                by: "x".into(),
            };
        })),
        "recording_illegal"
    );
}

#[test]
fn hostile_lines_are_refused_in_words() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    let with = |position: usize, line: &str| {
        let mut changed = lines.clone();
        changed[position] = line;
        changed.join("\n")
    };
    assert_eq!(code(&with(2, &"[".repeat(200_000))), "recording_unreadable");
    assert_eq!(code(&with(2, "{")), "recording_unreadable");
    assert_eq!(
        code(&with(2, r#"{"seq":2,"epoch":0,"at":"2026-01-01T00:00:00Z","kind":"dreamt","data":{}}"#)),
        "recording_unreadable"
    );
    assert_eq!(code("{\"rules\": []}"), "recording_unknown");
    assert_eq!(code(&lines[0].replace("\"version\":1", "\"version\":2")), "recording_too_new");
    assert_eq!(code(&lines[0].replace("\"entries\":5", "\"entries\":18446744073709551615")), "recording_cut");
    let error = Recording::read(&with(2, "{")).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains(env!("CARGO_PKG_VERSION")), "{error}");
}

#[test]
fn a_packed_file_is_read_and_never_unpacked_beyond_the_limit() {
    let text = written();
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    assert_eq!(unpack_recording(packed.clone(), 1 << 20).unwrap(), text);
    assert_eq!(
        unpack_recording(packed[..packed.len() / 2].to_vec(), 1 << 20).unwrap_err().code(),
        "recording_altered"
    );
    let bomb = zstd::encode_all(&vec![b'a'; 1 << 22][..], 3).unwrap();
    assert!(bomb.len() < 1 << 12);
    assert_eq!(unpack_recording(bomb, 1 << 20).unwrap_err(), RecordingError::TooLarge(1 << 20));
    assert_eq!(unpack_recording(text.clone().into_bytes(), 10).unwrap_err().code(), "recording_too_large");
    assert_eq!(unpack_recording(vec![0xff, 0xfe], 10).unwrap_err().code(), "recording_unknown");
}

#[test]
fn a_journal_without_its_beginning_is_nothing_to_write() {
    let (id, entries, _) = recorded();
    assert_eq!(RecordingText::of(id, &entries[1..]).unwrap_err(), RecordingError::NoJournal);
    assert_eq!(RecordingText::of(id, &[]).unwrap_err().code(), "journal_removed");
    assert_eq!(Task::fold(id, &entries).unwrap().status(), Status::Completed);
}
