//! Which time a question is about, and in which pieces.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::repository::analytics::{HOUR, MINUTE, Span};
use crate::server::error::ApiError;
use crate::task::Timestamp;

const DAY: i64 = 24 * HOUR;
/// How much is shown if nobody says.
const USUAL: i64 = DAY;
/// The longest time that one question is about.
const LONGEST: i64 = 400 * DAY;
/// For how long sums by the minute are there.
const MINUTES_KEPT: i64 = 2 * DAY;
/// Up to here a time that is not divided is summed up from minutes, for hours would be too coarse at
/// its ends.
const FINE: i64 = 6 * HOUR;
/// Points of a chart, at most.
const MOST_PIECES: i64 = 1500;
/// Points of a chart if nobody says, about.
const USUAL_PIECES: i64 = 96;

/// The query of every question.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(in crate::server) struct Window {
    /// The beginning of the time; a day before its end if absent.
    #[schemars(with = "Option<Timestamp>")]
    from: Option<String>,
    /// The end of the time; now if absent.
    #[schemars(with = "Option<Timestamp>")]
    to: Option<String>,
    /// Into pieces of which length the time is divided, where it is; chosen by its length if absent.
    /// Below an hour only for the last two days.
    bucket: Option<Bucket>,
    /// `json` or `csv`; as the `Accept` header says if absent.
    format: Option<Format>,
}

/// The length of a piece of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Bucket {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    QuarterHour,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "1d")]
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Csv,
}

impl Bucket {
    const ALL: [Self; 6] =
        [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::SixHours, Self::Day];

    fn millis(self) -> i64 {
        match self {
            Self::Minute => MINUTE,
            Self::FiveMinutes => 5 * MINUTE,
            Self::QuarterHour => 15 * MINUTE,
            Self::Hour => HOUR,
            Self::SixHours => 6 * HOUR,
            Self::Day => DAY,
        }
    }
}

impl Window {
    /// Whether a table for spreadsheets is wanted.
    pub(super) fn wants_csv(&self, headers: &HeaderMap) -> bool {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        self.format.map_or(accept.contains("text/csv"), |format| format == Format::Csv)
    }

    /// The time as one piece.
    pub(super) fn whole(&self, now: Timestamp) -> Result<Span, ApiError> {
        let (from, to) = self.ends(now)?;
        let by_minute = to - from <= FINE && from >= now.as_millis() - MINUTES_KEPT;
        let width = if by_minute { MINUTE } else { HOUR };
        // Longer than any time since 1970: all of it is one piece.
        Ok(span(from.div_euclid(width) * width, to, i64::MAX, by_minute))
    }

    /// The time in pieces, the first of which may begin before it.
    pub(super) fn pieces(&self, now: Timestamp) -> Result<Span, ApiError> {
        let (from, to) = self.ends(now)?;
        let is_recent = from >= now.as_millis() - MINUTES_KEPT;
        let piece = match self.bucket {
            Some(bucket) if bucket.millis() < HOUR && !is_recent => {
                return Err(ApiError::invalid("bucket", "is at least 1h for what is older than two days"));
            }
            Some(bucket) => bucket.millis(),
            None => usual_piece(to - from, is_recent),
        };
        if (to - from) / piece > MOST_PIECES {
            let problem =
                format!("divides the time into more than {MOST_PIECES} pieces: choose a longer one");
            return Err(ApiError::invalid("bucket", &problem));
        }
        Ok(span(from.div_euclid(piece) * piece, to, piece, piece < HOUR))
    }

    fn ends(&self, now: Timestamp) -> Result<(i64, i64), ApiError> {
        let to = moment("to", self.to.as_deref())?.unwrap_or(now.as_millis());
        let from = moment("from", self.from.as_deref())?.unwrap_or(to - USUAL);
        match to - from {
            length if length <= 0 => Err(ApiError::invalid("from", "is before to")),
            length if length > LONGEST => Err(ApiError::invalid("from", "is at most 400 days before to")),
            _ => Ok((from, to)),
        }
    }
}

fn moment(field: &str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<Timestamp>() {
        Ok(moment) if moment.as_millis() >= 0 => Ok(Some(moment.as_millis())),
        _ => Err(ApiError::invalid(field, "is a moment since 1970, for example 2026-11-22T16:41:41.123Z")),
    }
}

fn usual_piece(length: i64, is_recent: bool) -> i64 {
    let shortest = if is_recent { 0 } else { HOUR };
    let lengths = Bucket::ALL.map(Bucket::millis);
    let fitting = lengths.into_iter().find(|piece| *piece >= shortest && length / piece <= USUAL_PIECES);
    fitting.unwrap_or(DAY)
}

fn span(from: i64, to: i64, piece: i64, by_minute: bool) -> Span {
    Span { from: Timestamp::from_millis(from), to: Timestamp::from_millis(to), piece, by_minute }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T16:41:41.123Z".parse().unwrap()
    }

    fn window(query: &str) -> Window {
        axum::extract::Query::try_from_uri(&format!("/?{query}").parse().unwrap()).unwrap().0
    }

    #[test]
    fn a_day_is_shown_in_quarters_of_hours() {
        let span = window("").pieces(now()).unwrap();
        assert_eq!((span.from.to_string().as_str(), span.piece), ("2026-11-21T16:30:00.000Z", 15 * MINUTE));
        assert!(span.by_minute);
        assert_eq!(span.to, now());
    }

    #[test]
    fn what_is_old_is_shown_in_hours_or_days() {
        let old = window("from=2026-09-01T00:00:00Z").pieces(now()).unwrap();
        assert_eq!((old.piece, old.by_minute), (DAY, false));
        let refused = window("from=2026-09-01T00:00:00Z&bucket=5m").pieces(now()).unwrap_err();
        assert!(refused.message.starts_with("bucket: "));
        let dense = window("from=2026-01-01T00:00:00Z&bucket=1h").pieces(now()).unwrap_err();
        assert!(dense.message.contains("pieces"));
    }

    #[test]
    fn nonsense_is_named() {
        let refused = |query: &str| window(query).whole(now()).unwrap_err().message;
        assert!(refused("from=yesterday").starts_with("from: "));
        assert!(refused("to=2026-11-20T00:00:00Z&from=2026-11-21T00:00:00Z").starts_with("from: is before"));
        assert!(refused("from=2020-01-01T00:00:00Z").contains("400 days"));
    }

    #[test]
    fn a_short_time_is_counted_by_the_minute() {
        let short = window("from=2026-11-22T16:00:30Z").whole(now()).unwrap();
        assert!(short.by_minute);
        assert_eq!(short.from.to_string(), "2026-11-22T16:00:00.000Z");
        assert!(!window("").whole(now()).unwrap().by_minute);
    }
}
