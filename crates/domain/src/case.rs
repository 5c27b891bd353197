//! What a program's matching needs of a study and its patient, as coded values that cross from edge to service; where a case stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Patient's Sex (0010,0040).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sex {
    /// `F`.
    Female,
    /// `M`.
    Male,
    /// `O`.
    Other,
}

/// Which side of the body, as Image Laterality (0020,0062) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Laterality {
    /// `L`.
    Left,
    /// `R`.
    Right,
    /// `B`.
    Both,
    /// `U`.
    Unpaired,
}

impl Laterality {
    /// The side of a code string; none for any other text.
    pub fn parse(code: &str) -> Option<Self> {
        match code.trim() {
            "L" => Some(Self::Left),
            "R" => Some(Self::Right),
            "B" => Some(Self::Both),
            "U" => Some(Self::Unpaired),
            _ => None,
        }
    }
}

/// How soon a case is wanted, most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// As an emergency.
    Stat,
    /// Before the routine.
    Urgent,
    /// In turn.
    #[default]
    Routine,
}

impl Priority {
    /// A number that sorts: 0 is the most urgent.
    pub const fn rank(self) -> i64 {
        match self {
            Self::Stat => 0,
            Self::Urgent => 1,
            Self::Routine => 2,
        }
    }
}

/// An age that tells a program enough and a stranger little: whole years below 18, five years from there on,
/// and one band from 90.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 2]", into = "[u8; 2]")]
pub struct AgeBand {
    from: u8,
    below: u8,
}

/// A pair of years that is no band.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "[{0}, {1}] is no age band: whole years below 18, then [20, 25] and so on from [18, 20], then [90, 150]"
)]
pub struct NotAnAgeBand(u8, u8);

impl AgeBand {
    /// The band of an age in years; none outside 0 to 150.
    pub fn of_years(years: f64) -> Option<Self> {
        if !(0.0..150.0).contains(&years) {
            return None;
        }
        // 0..150 fits a byte.
        let whole = years as u8;
        let (from, below) = match whole {
            0..=17 => (whole, whole + 1),
            18..=19 => (18, 20),
            20..=89 => (whole / 5 * 5, whole / 5 * 5 + 5),
            _ => (90, 150),
        };
        Some(Self { from, below })
    }

    /// The youngest age in the band, in years.
    pub const fn from_years(self) -> u8 {
        self.from
    }

    /// The age that the band ends before, in years.
    pub const fn below_years(self) -> u8 {
        self.below
    }

    /// An age to stand for the band, where one number is wanted: half a year above the youngest for the narrow bands,
    /// the middle of the wider ones, 92.5 for the last.
    pub fn middle_years(self) -> f64 {
        if self.from == 90 { 92.5 } else { (f64::from(self.from) + f64::from(self.below)) / 2.0 }
    }
}

impl TryFrom<[u8; 2]> for AgeBand {
    type Error = NotAnAgeBand;
    fn try_from([from, below]: [u8; 2]) -> Result<Self, NotAnAgeBand> {
        Self::of_years(f64::from(from))
            .filter(|band| (band.from, band.below) == (from, below))
            .ok_or(NotAnAgeBand(from, below))
    }
}

impl From<AgeBand> for [u8; 2] {
    fn from(band: AgeBand) -> Self {
        [band.from, band.below]
    }
}

/// How a program's results are released. Every program starts in `shadow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseMode {
    /// Results are kept by the service; nothing is sent.
    #[default]
    Shadow,
    /// Every result is sent, preliminary and unverified, and a person reads every study.
    ReviewAll,
    /// A person reads what the machine is unsure of. Refused until a local validation is recorded.
    ReviewUncertain,
}

impl ReleaseMode {
    /// The mode's word in configuration, API and database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::ReviewAll => "review-all",
            Self::ReviewUncertain => "review-uncertain",
        }
    }

    /// The mode of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Shadow, Self::ReviewAll, Self::ReviewUncertain].into_iter().find(|m| m.as_str() == word)
    }
}

impl fmt::Display for ReleaseMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a case stands: one study read under one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseState {
    /// A version of the study is here and waits to be read.
    Received,
    /// It is being read.
    Reading,
    /// Read, and kept: nothing was sent, because the program is in shadow.
    Read,
    /// Read, and the first result was released.
    Released,
    /// Read again, and a result was released that replaces an earlier one.
    Amended,
    /// No program reads studies of this kind.
    NoProgram,
    /// It could not be read, and a person must look.
    Dead,
}

/// What happens to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaseEvent {
    /// Another version of the study has come, or a person gave a dead one another try.
    Reopened,
    /// Reading starts; it may start again after a crash or under another edition.
    Started,
    /// Read and kept.
    Kept,
    /// Read and released for the first time.
    Released,
    /// Read and released again.
    Amended,
    /// No program takes the study.
    NotTaken,
    /// No attempt is left.
    Died,
}

/// An event that cannot happen to a case in that state.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a case that is {state} cannot become {event:?}")]
pub struct IllegalTransition {
    /// Where it stands.
    pub state: CaseState,
    /// What should have happened.
    pub event: CaseEvent,
}

impl CaseState {
    /// All states, in the order of a case's life.
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Reading,
        Self::Read,
        Self::Released,
        Self::Amended,
        Self::NoProgram,
        Self::Dead,
    ];

    /// The state after an event.
    ///
    /// # Errors
    /// The event cannot happen in this state.
    pub const fn after(self, event: CaseEvent) -> Result<Self, IllegalTransition> {
        use CaseEvent as Event;
        let next = match (self, event) {
            // What is being read is read to its end; the new version is read after it.
            (Self::Reading, Event::Reopened) => Self::Reading,
            (_, Event::Reopened) => Self::Received,
            (_, Event::Started) => Self::Reading,
            (Self::Reading, Event::Kept) => Self::Read,
            (Self::Reading, Event::Released) => Self::Released,
            (Self::Reading, Event::Amended) => Self::Amended,
            (Self::Received | Self::Reading, Event::NotTaken) => Self::NoProgram,
            (Self::Received | Self::Reading, Event::Died) => Self::Dead,
            _ => return Err(IllegalTransition { state: self, event }),
        };
        Ok(next)
    }

    /// The state's word in API and database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Reading => "reading",
            Self::Read => "read",
            Self::Released => "released",
            Self::Amended => "amended",
            Self::NoProgram => "no-program",
            Self::Dead => "dead",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

impl fmt::Display for CaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_has_one_band_that_holds_it() {
        for tenth in 0..1500 {
            let years = f64::from(tenth) / 10.0;
            let band = AgeBand::of_years(years).unwrap();
            assert!(
                f64::from(band.from_years()) <= years && years < f64::from(band.below_years()),
                "{years}"
            );
            let there_and_back: AgeBand =
                serde_json::from_str(&serde_json::to_string(&band).unwrap()).unwrap();
            assert_eq!(band, there_and_back);
        }
        assert_eq!(AgeBand::of_years(-0.1), None);
        assert_eq!(AgeBand::of_years(f64::NAN), None);
    }

    #[test]
    fn a_made_up_band_is_refused() {
        // A band of one day's width around an adult would tell who it is.
        assert!(serde_json::from_str::<AgeBand>("[41, 42]").is_err());
        assert!(serde_json::from_str::<AgeBand>("[95, 96]").is_err());
        assert!(serde_json::from_str::<AgeBand>("[40, 45]").is_ok());
    }

    #[test]
    fn priorities_sort_by_urgency() {
        assert!(Priority::Stat < Priority::Urgent && Priority::Urgent < Priority::Routine);
        assert!(Priority::Stat.rank() < Priority::Routine.rank());
    }

    #[test]
    fn modes_have_words() {
        for mode in [ReleaseMode::Shadow, ReleaseMode::ReviewAll, ReleaseMode::ReviewUncertain] {
            assert_eq!(ReleaseMode::parse(mode.as_str()), Some(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert_eq!(ReleaseMode::parse("live"), None);
    }

    #[test]
    fn a_case_lives_from_received_to_amended() {
        use CaseEvent::{Amended, Released, Reopened, Started};
        let mut state = CaseState::Received;
        let way = [Started, Started, Released, Reopened, Started, Reopened, Amended];
        let states = way.map(|event| {
            state = state.after(event).unwrap();
            state.as_str()
        });
        assert_eq!(states, ["reading", "reading", "released", "received", "reading", "reading", "amended"]);
    }

    #[test]
    fn nothing_is_released_that_was_not_read() {
        for state in CaseState::ALL.into_iter().filter(|s| *s != CaseState::Reading) {
            for event in [CaseEvent::Kept, CaseEvent::Released, CaseEvent::Amended] {
                assert_eq!(state.after(event), Err(IllegalTransition { state, event }));
            }
        }
        for state in [CaseState::Read, CaseState::Released, CaseState::Amended, CaseState::Dead] {
            assert!(state.after(CaseEvent::Died).is_err(), "{state}");
        }
    }

    #[test]
    fn states_have_words() {
        for state in CaseState::ALL {
            assert_eq!(CaseState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert_eq!(CaseState::parse("lost"), None);
    }
}
