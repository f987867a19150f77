//! Values of a row, from bytes. Each check gives the value or the one reason against it.

use dunlin_core::prices::{MAX_PRICE, Reason};
use time::Date;

/// Days since 2000-01-01, as Postgres counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub i32);

/// 1990-01-01 and 2100-12-31.
const FIRST_DAY: Day = Day(-3652);
const LAST_DAY: Day = Day(36_889);
/// Julian day number of 2000-01-01.
const EPOCH: i32 = 2_451_545;
/// Letters of a name, of a slug.
const MAX_NAME: usize = 200;
const MAX_SLUG: usize = 100;
/// In proportion to a binary fraction: at least four units in its last place, at most eight.
const FEW_UNITS: f64 = 4.0 * f64::EPSILON;

impl Day {
    pub fn date(self) -> Option<Date> {
        Date::from_julian_day(EPOCH + self.0).ok()
    }

    /// None outside of 1990 to 2100.
    pub const fn checked(days: i64) -> Option<Self> {
        if days < FIRST_DAY.0 as i64 || days > LAST_DAY.0 as i64 { None } else { Some(Self(days as i32)) }
    }
}

/// YYYY-MM-DD.
#[inline]
pub(crate) fn day(text: &[u8]) -> Result<Day, Reason> {
    if text.is_empty() {
        return Err(Reason::MissingValue);
    }
    calendar_day(text).ok_or(Reason::InvalidDate)
}

#[inline]
fn calendar_day(text: &[u8]) -> Option<Day> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let digits = [y1, y2, y3, y4, m1, m2, d1, d2].map(|byte| byte.wrapping_sub(b'0'));
    if digits.iter().any(|digit| *digit > 9) {
        return None;
    }
    let [y1, y2, y3, y4, m1, m2, d1, d2] = digits.map(i32::from);
    let (year, month, day) = (1000 * y1 + 100 * y2 + 10 * y3 + y4, 10 * m1 + m2, 10 * d1 + d2);
    if !(1990..=2100).contains(&year) || day == 0 {
        return None;
    }
    let leap = year % 4 == 0 && year != 2100;
    let (before, length) = match month {
        1 => (0, 31),
        2 => (31, 28 + i32::from(leap)),
        3 => (59, 31),
        4 => (90, 30),
        5 => (120, 31),
        6 => (151, 30),
        7 => (181, 31),
        8 => (212, 31),
        9 => (243, 30),
        10 => (273, 31),
        11 => (304, 30),
        12 => (334, 31),
        _ => return None,
    };
    if day > length {
        return None;
    }
    // Leap days between 1988 and this year; 2100 has none.
    let leap_days = (year - 1985) / 4 - 1;
    let year_begins = 365 * (year - 1990) + leap_days + FIRST_DAY.0;
    Some(Day(year_begins + before + i32::from(leap && month > 2) + day - 1))
}

/// A decimal of at most two digits behind its point, as hundredths.
#[inline]
pub(crate) fn price(text: &[u8]) -> Result<i64, Reason> {
    // Nearly all prices: few enough digits for any sum, and a point before the last two.
    if let [whole @ .., b'.', a @ b'0'..=b'9', b @ b'0'..=b'9'] = text
        && (1..=8).contains(&whole.len())
    {
        let mut sum: i64 = 0;
        let mut digits = true;
        for byte in whole {
            digits &= byte.is_ascii_digit();
            sum = 10 * sum + i64::from(byte.wrapping_sub(b'0'));
        }
        sum = 100 * sum + 10 * i64::from(a - b'0') + i64::from(b - b'0');
        if digits && sum > 0 && sum <= MAX_PRICE {
            return Ok(sum);
        }
    }
    any_price(text)
}

fn any_price(text: &[u8]) -> Result<i64, Reason> {
    if text.is_empty() {
        return Err(Reason::MissingValue);
    }
    let (negative, amount) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = amount.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let behind = parts.next();
    let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !number(whole) || !behind.is_none_or(number) {
        return Err(Reason::NotANumber);
    }
    let behind = behind.unwrap_or_default();
    let zero = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    if negative || (zero(whole) && zero(behind)) {
        return Err(Reason::NotPositive);
    }
    let tens = |digit: Option<&u8>| digit.map_or(0, |digit| i64::from(digit - b'0'));
    // Above the limit is above the limit, however many digits follow.
    let units = whole.iter().fold(0_i64, |sum, digit| (10 * sum + i64::from(digit - b'0')).min(MAX_PRICE));
    let hundredths = 100 * units + 10 * tens(behind.first()) + tens(behind.get(1));
    if hundredths > MAX_PRICE {
        return Err(Reason::AbsurdPrice);
    }
    if behind.len() > 2 {
        return Err(Reason::TooPrecise);
    }
    Ok(hundredths)
}

/// A price that is kept as an integer of `10^-scale`.
pub(crate) fn scaled_price(unscaled: i128, scale: u32) -> Result<i64, Reason> {
    if unscaled <= 0 {
        return Err(Reason::NotPositive);
    }
    // A price of so small a unit that no 128 bits hold a hundredth of it is below all of them.
    let hundredth = if scale >= 2 { 10_i128.checked_pow(scale - 2) } else { Some(1) };
    let Some(hundredth) = hundredth else { return Err(Reason::TooPrecise) };
    let factor = if scale >= 2 { 1 } else { 10_i128.pow(2 - scale) };
    let hundredths = (unscaled / hundredth).checked_mul(factor).unwrap_or(i128::MAX);
    match i64::try_from(hundredths) {
        Ok(price) if price <= MAX_PRICE => {
            if unscaled % hundredth == 0 {
                Ok(price)
            } else {
                Err(Reason::TooPrecise)
            }
        }
        _ => Err(Reason::AbsurdPrice),
    }
}

/// The nearest price to a binary fraction, when that is one.
pub(crate) fn float_price(value: f64) -> Result<i64, Reason> {
    if !value.is_finite() {
        return Err(Reason::NotANumber);
    }
    if value <= 0.0 {
        return Err(Reason::NotPositive);
    }
    let hundredths = (value * 100.0).round();
    if hundredths > MAX_PRICE as f64 {
        return Err(Reason::AbsurdPrice);
    }
    // Two digits have no exact binary fraction, and a sum of some is off by a few units in the last place. What is further away has
    // more digits.
    if (hundredths / 100.0 - value).abs() > value * FEW_UNITS {
        return Err(Reason::TooPrecise);
    }
    Ok(hundredths as i64)
}

/// 1 to 200 characters, none of them a control character.
pub(crate) fn name(text: &str) -> Result<(), Reason> {
    match text.chars().take(MAX_NAME + 1).count() {
        0 => Err(Reason::MissingValue),
        1..=MAX_NAME if !text.chars().any(char::is_control) => Ok(()),
        _ => Err(Reason::MalformedCode),
    }
}

pub(crate) fn slug(text: &str) -> Result<(), Reason> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    match text.len() {
        0 => Err(Reason::MissingValue),
        1..=MAX_SLUG if text.bytes().all(allowed) => Ok(()),
        _ => Err(Reason::MalformedCode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Month;

    #[test]
    fn every_day_is_the_one_of_the_calendar() {
        let mut date = Date::from_calendar_date(1990, Month::January, 1).unwrap();
        let mut days = 0;
        while date.year() <= 2100 {
            let text = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
            let read = day(text.as_bytes()).unwrap();
            assert_eq!((read.date(), Day::checked(i64::from(read.0))), (Some(date), Some(read)), "{text}");
            date = date.next_day().unwrap();
            days += 1;
        }
        assert_eq!(days, LAST_DAY.0 - FIRST_DAY.0 + 1);
        assert_eq!((Day::checked(i64::from(LAST_DAY.0) + 1), Day::checked(i64::from(FIRST_DAY.0) - 1)), (None, None));
    }

    #[test]
    fn what_no_calendar_has_is_no_day() {
        for bad in [
            "2026-02-30",
            "2025-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "1989-12-31",
            "2101-01-01",
            "26-01-01",
            "2026-1-1",
            "2026/01/01",
            "2026-01-01T00",
            " 2026-01-01",
            "+026-01-01",
        ] {
            assert_eq!(day(bad.as_bytes()), Err(Reason::InvalidDate), "{bad}");
        }
        assert_eq!(day(b""), Err(Reason::MissingValue));
    }

    #[test]
    fn a_price_is_a_decimal_of_two_digits() {
        for (text, hundredths) in [
            ("0.01", 1),
            ("1", 100),
            ("1.5", 150),
            ("1.50", 150),
            ("007.25", 725),
            ("10000000.00", MAX_PRICE),
            ("10000000", MAX_PRICE),
            ("000000000000000000000000000012.34", 1234),
        ] {
            assert_eq!(price(text.as_bytes()), Ok(hundredths), "{text}");
        }
        for (text, reason) in [
            ("", Reason::MissingValue),
            ("+1", Reason::NotANumber),
            ("1e3", Reason::NotANumber),
            ("1,000.00", Reason::NotANumber),
            ("1.", Reason::NotANumber),
            (".5", Reason::NotANumber),
            ("-", Reason::NotANumber),
            ("--1", Reason::NotANumber),
            ("1.2.3", Reason::NotANumber),
            ("1.-2", Reason::NotANumber),
            (" 1.00", Reason::NotANumber),
            ("0x10", Reason::NotANumber),
            ("NaN", Reason::NotANumber),
            ("12:4.00", Reason::NotANumber),
            ("0", Reason::NotPositive),
            ("0.00", Reason::NotPositive),
            ("0.000", Reason::NotPositive),
            ("-0.01", Reason::NotPositive),
            ("-1", Reason::NotPositive),
            ("10000000.01", Reason::AbsurdPrice),
            ("99999999.99", Reason::AbsurdPrice),
            ("123456789012345678901234567890", Reason::AbsurdPrice),
            ("0.001", Reason::TooPrecise),
            ("1.000", Reason::TooPrecise),
        ] {
            assert_eq!(price(text.as_bytes()), Err(reason), "{text}");
        }
    }

    #[test]
    fn prices_of_other_scales_are_the_same_prices() {
        assert_eq!(scaled_price(12, 0), Ok(1200));
        assert_eq!(scaled_price(125, 1), Ok(1250));
        assert_eq!(scaled_price(12_500, 3), Ok(1250));
        assert_eq!(scaled_price(12_501, 3), Err(Reason::TooPrecise));
        assert_eq!(scaled_price(1, 60), Err(Reason::TooPrecise));
        assert_eq!(scaled_price(0, 2), Err(Reason::NotPositive));
        assert_eq!(scaled_price(i128::MAX, 0), Err(Reason::AbsurdPrice));
        assert_eq!(scaled_price(i128::from(MAX_PRICE) + 1, 2), Err(Reason::AbsurdPrice));
    }

    #[test]
    fn a_binary_fraction_is_the_price_that_was_meant() {
        for hundredths in (1..2_000_000).chain(MAX_PRICE - 1000..=MAX_PRICE) {
            assert_eq!(float_price(hundredths as f64 / 100.0), Ok(hundredths));
        }
        // What computers make of them.
        for (value, hundredths) in
            [(0.1 + 0.2, 30), (4.35 * 100.0 / 100.0, 435), (1.1 + 2.2 + 3.3, 660), (0.07 * 3.0, 21)]
        {
            assert_eq!(float_price(value), Ok(hundredths), "{value}");
        }
        for (value, reason) in [
            (f64::NAN, Reason::NotANumber),
            (f64::INFINITY, Reason::NotANumber),
            (-0.0, Reason::NotPositive),
            (-5.0, Reason::NotPositive),
            (12.345, Reason::TooPrecise),
            (12.340_000_9, Reason::TooPrecise),
            (0.010_000_000_1, Reason::TooPrecise),
            (9_999_999.990_000_1, Reason::TooPrecise),
            // Of 32 bits, written as 64.
            (f64::from(12.34_f32), Reason::TooPrecise),
            (0.001, Reason::TooPrecise),
            (12_345.678, Reason::TooPrecise),
            (9_999_999.994, Reason::TooPrecise),
            (1e300, Reason::AbsurdPrice),
            (10_000_000.01, Reason::AbsurdPrice),
        ] {
            assert_eq!(float_price(value), Err(reason), "{value}");
        }
    }

    #[test]
    fn names_and_slugs_have_their_form() {
        assert_eq!(name(&"é".repeat(200)), Ok(()));
        assert_eq!(name(&"é".repeat(201)), Err(Reason::MalformedCode));
        assert_eq!(name("a\tb"), Err(Reason::MalformedCode));
        assert_eq!(slug("north_europe-1"), Ok(()));
        assert_eq!(slug(&"a".repeat(101)), Err(Reason::MalformedCode));
        assert_eq!(slug("North"), Err(Reason::MalformedCode));
        assert_eq!((name(""), slug("")), (Err(Reason::MissingValue), Err(Reason::MissingValue)));
    }
}
