//! Which moments a cron pattern names, by the clock of a time zone.
//!
//! Where a clock is put forward or back, a time of day is missing or comes twice. A pattern whose hours
//! are all of the 24 goes on as time does. Any other one fires once for each time it names: a missing one
//! at the end of what is missing, a double one the first time.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::OrchestratorError;
use crate::task::Timestamp;

/// The names of the fields, in order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// Minutes that a clock leaves out at most: islands have left out a day to change sides of the date line.
const LONGEST_GAP: i64 = 25 * 60;

/// A pattern and whose clock it is about.
pub(super) struct Recurrence {
    cron: Cron,
    zone: Tz,
}

impl Recurrence {
    /// Reads five fields, or `@daily` and the like, and the IANA name of a time zone.
    pub(super) fn parse(cron: &str, time_zone: &str) -> Result<Self, OrchestratorError> {
        let invalid = |field, problem: String| OrchestratorError::Invalid { field, problem };
        let zone = time_zone.parse::<Tz>().map_err(|_| {
            let problem = format!("'{time_zone}' is no time zone: IANA names look like Europe/Berlin or UTC");
            invalid("timeZone", problem)
        })?;
        match read(cron) {
            Ok(cron) => Ok(Self { cron, zone }),
            Err(problem) => Err(invalid("cron", problem)),
        }
    }

    /// The first moment after this one; none if it never comes.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let start = moment.to_datetime().with_timezone(&self.zone);
        if self.is_hourly() {
            return self.cron.find_next_occurrence(&start, false).ok().map(|next| next.to_utc().into());
        }
        // The search is on the face of the clock, which knows neither gaps nor repetitions.
        let mut face = start.naive_local().and_utc();
        loop {
            face = self.cron.find_next_occurrence(&face, false).ok()?;
            let next = Timestamp::from(self.moment(face.naive_utc())?);
            if next > moment {
                return Some(next);
            }
        }
    }

    /// The last moment after `from` that is not after `to`.
    pub(super) fn last_between(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let is_over = |moment| self.after(moment).is_none_or(|next| next > to);
        if is_over(from) {
            return None;
        }
        // The first moment after which nothing comes any more is the last one that came. It is searched by
        // halves: after a long standstill there may be millions.
        let (mut before, mut at) = (from.as_millis(), to.as_millis());
        while at - before > 1 {
            let middle = before + (at - before) / 2;
            match is_over(Timestamp::from_millis(middle)) {
                true => at = middle,
                false => before = middle,
            }
        }
        Some(Timestamp::from_millis(at))
    }

    fn is_hourly(&self) -> bool {
        (0..24).all(|hour| self.cron.pattern.hour_match(hour).unwrap_or(false))
    }

    /// When the clock shows this for the first time, or is put forward over it.
    fn moment(&self, face: NaiveDateTime) -> Option<DateTime<Utc>> {
        (0..=LONGEST_GAP).find_map(|minutes| {
            match self.zone.from_local_datetime(&face.checked_add_signed(TimeDelta::minutes(minutes))?) {
                LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => Some(moment.to_utc()),
                LocalResult::None => None,
            }
        })
    }
}

/// Reads a pattern, or says which field is wrong.
fn read(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let Err(error) = parser.parse(text).map(drop) else {
        return parser.parse(text).map_err(|error| error.to_string());
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "'{text}' is no pattern: give {} (as in '0 9 * * 1-5'), or one of @hourly, @daily, @weekly, @monthly, \
             @yearly",
            FIELDS.join(", ")
        ));
    }
    let wrong = fields.iter().enumerate().find_map(|(at, field)| {
        let mut alone = ["*"; FIELDS.len()];
        alone[at] = field;
        let error = parser.parse(&alone.join(" ")).err()?;
        Some(format!("the {} '{field}' makes no sense: {error}", FIELDS[at]))
    });
    Err(wrong.unwrap_or_else(|| format!("'{text}' makes no sense: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let recurrence = Recurrence::parse(cron, zone).unwrap();
        let first = recurrence.after(after.parse().unwrap());
        let moments = std::iter::successors(first, |moment| recurrence.after(*moment));
        moments.take(count).map(|moment| moment.to_string().replace(":00.000Z", "Z")).collect()
    }

    fn refusal(cron: &str, zone: &str) -> String {
        Recurrence::parse(cron, zone).err().unwrap().to_string()
    }

    #[test]
    fn the_clock_of_the_time_zone_counts() {
        assert_eq!(
            next("0 9 * * 1-5", "Europe/Berlin", "2026-07-03T07:00:00Z", 2),
            ["2026-07-06T07:00Z", "2026-07-07T07:00Z"],
            "the moment itself is not after itself, and a weekend lies between"
        );
        assert_eq!(next("@daily", "UTC", "2026-02-28T13:00:00.500Z", 1), ["2026-03-01T00:00Z"]);
        assert_eq!(next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00Z"]);
    }

    #[test]
    fn a_time_that_does_not_exist_fires_once_at_the_end_of_the_gap() {
        // On 2026-03-29 the clocks of Berlin go from 02:00 to 03:00, which is 01:00 UTC.
        let expected = ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"];
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3), expected);
        let expected = ["2026-03-29T01:00Z", "2026-03-29T12:15Z"];
        assert_eq!(next("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 1), expected[..1]);
        assert_eq!(next("15 2,14 * * *", "Europe/Berlin", "2026-03-28T14:00:00Z", 2), expected);
    }

    #[test]
    fn a_time_that_exists_twice_fires_the_first_time() {
        // On 2026-10-25 the clocks of Berlin go from 03:00 back to 02:00, which is 01:00 UTC.
        let expected = ["2026-10-25T00:30Z", "2026-10-25T13:30Z", "2026-10-26T01:30Z"];
        assert_eq!(next("30 2,14 * * *", "Europe/Berlin", "2026-10-24T20:00:00Z", 3), expected);
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["2026-10-26T01:30Z"]);
    }

    #[test]
    fn what_runs_every_hour_goes_on_as_time_does() {
        let expected = ["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"];
        assert_eq!(next("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4), expected);
        let expected = ["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"];
        assert_eq!(next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3), expected);
    }

    #[test]
    fn a_day_that_an_island_left_out_fires_once() {
        // Samoa had no 2011-12-30.
        let expected = ["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"];
        assert_eq!(next("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3), expected);
    }

    #[test]
    fn the_last_of_many_is_found() {
        let recurrence = Recurrence::parse("0 * * * *", "UTC").unwrap();
        let (from, to): (Timestamp, Timestamp) =
            ("2026-01-01T09:00:00Z".parse().unwrap(), "2026-01-01T12:30:00Z".parse().unwrap());
        assert_eq!(recurrence.last_between(from, to).unwrap().to_string(), "2026-01-01T12:00:00.000Z");
        assert_eq!(recurrence.last_between(from, from), None);
    }

    #[test]
    fn the_last_one_is_the_end_of_all_that_came_whatever_the_clock_did() {
        let (from, to): (Timestamp, Timestamp) =
            ("2026-03-27T12:00:00Z".parse().unwrap(), "2026-03-29T09:10:00Z".parse().unwrap());
        for cron in ["*/7 * * * *", "30 2 * * *", "*/15 2 * * *", "15 2,14 * * *", "0 0 1 1 *", "59 * * * *"]
        {
            let recurrence = Recurrence::parse(cron, "Europe/Berlin").unwrap();
            let moments = std::iter::successors(recurrence.after(from), |moment| recurrence.after(*moment));
            let last = moments.take_while(|moment| *moment <= to).last();
            assert_eq!(recurrence.last_between(from, to), last, "{cron}");
        }
    }

    #[test]
    fn the_last_one_of_ten_years_of_minutes_is_found_at_once() {
        let recurrence = Recurrence::parse("* * * * *", "Europe/Berlin").unwrap();
        let (from, to) = ("2016-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T00:00:30Z".parse().unwrap());
        let began = std::time::Instant::now();
        assert_eq!(recurrence.last_between(from, to).unwrap().to_string(), "2026-01-01T00:00:00.000Z");
        assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refusal("0 25 * * *", "UTC").starts_with("cron: the hour '25' makes no sense"));
        assert!(refusal("0 9 * * mond", "UTC").starts_with("cron: the day of the week 'mond'"));
        assert!(refusal("0 9 * *", "UTC").contains("give minute, hour, day of the month"));
        assert!(refusal("0 0 9 * * *", "UTC").contains("give minute, hour"), "seconds are not for tasks");
        assert!(refusal("@often", "UTC").contains("@weekly"));
        assert!(refusal("", "UTC").contains("is no pattern"));
        assert!(refusal("0 9 * * *", "Berlin").starts_with("timeZone: 'Berlin' is no time zone"));
    }

    #[test]
    fn a_pattern_may_never_come() {
        let recurrence = Recurrence::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(recurrence.after("2026-01-01T00:00:00Z".parse().unwrap()), None);
    }
}
