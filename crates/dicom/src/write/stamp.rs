//! The moment of a result, given by the caller: there is no hidden clock in a writer.

/// A moment, and how to print it: DICOM dates and times are local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    unix_seconds: i64,
    utc_offset_minutes: i16,
}

impl Stamp {
    /// A moment in seconds since 1970-01-01T00:00:00Z and the site's offset from UTC in minutes
    /// (clamped to -14 h to +14 h).
    pub fn new(unix_seconds: i64, utc_offset_minutes: i16) -> Self {
        // Years 0000 to 9999: what a DA holds.
        let unix_seconds = unix_seconds.clamp(-62_167_000_000, 253_402_000_000);
        Self { unix_seconds, utc_offset_minutes: utc_offset_minutes.clamp(-840, 840) }
    }

    /// The same moment as a clock at another offset shows it.
    #[must_use]
    pub fn at_offset(self, utc_offset_minutes: i16) -> Self {
        Self::new(self.unix_seconds, utc_offset_minutes)
    }

    /// The date as VR DA: `YYYYMMDD`.
    pub fn date(self) -> String {
        let (year, month, day) = civil(self.local().div_euclid(86_400));
        format!("{year:04}{month:02}{day:02}")
    }

    /// The time of day as VR TM: `HHMMSS`.
    pub fn time(self) -> String {
        let s = self.local().rem_euclid(86_400);
        format!("{:02}{:02}{:02}", s / 3600, s / 60 % 60, s % 60)
    }

    /// Date, time and offset as VR DT: `YYYYMMDDHHMMSS&ZZXX`.
    pub fn date_time(self) -> String {
        format!("{}{}{}", self.date(), self.time(), self.offset())
    }

    /// The offset as Timezone Offset From UTC (0008,0201) prints it: `+0100`.
    pub fn offset(self) -> String {
        let m = self.utc_offset_minutes;
        format!("{}{:02}{:02}", if m < 0 { '-' } else { '+' }, m.abs() / 60, m.abs() % 60)
    }

    fn local(self) -> i64 {
        self.unix_seconds + i64::from(self.utc_offset_minutes) * 60
    }
}

/// Proleptic Gregorian year, month and day of a count of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that start on 1 March, so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_local_and_keep_leap_days() {
        let stamp = Stamp::new(1_709_164_800, 0);
        assert_eq!((stamp.date(), stamp.time()), ("20240229".into(), "000000".into()));
        assert_eq!(stamp.at_offset(-90).date_time(), "20240228223000-0130");
        assert_eq!(stamp.at_offset(330).date_time(), "20240229053000+0530");
        assert_eq!(Stamp::new(-1, 0).date_time(), "19691231235959+0000");
        assert_eq!(Stamp::new(951_868_800, 0).date(), "20000301");
    }

    #[test]
    fn no_moment_leaves_the_four_digits_of_a_year() {
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(Stamp::new(extreme, 840).date_time().len(), 19, "{extreme}");
        }
    }
}
