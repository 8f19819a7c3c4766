//! The script and the model say the same.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;

const S: i64 = 1_000_000;

/// Time is injected from the other side: between two steps all counts are moved, which is as good as a clock that is set.
#[tokio::test]
async fn the_script_and_the_model_answer_the_same_to_any_history() -> Result<()> {
    let server = server().await?;
    let [limiter] = limiters(&server).await?;
    let shared = limiter.0.shared.clone().context("it shares one")?;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut verdicts = [0, 0];
    for history in 0..30 {
        let charges: Vec<Charge> = (0..random.random_range(1..5))
            .map(|count| {
                let (amount, per_s) =
                    [(100_000, 1), (100, 1), (7, 60), (1_000, 3_600), (3, 86_400)][random.random_range(0..5)];
                let burst = random.random_range(1..8);
                charge(&format!("{history}-{count}"), amount, per_s, burst, WhenGone::Closed)
            })
            .collect();
        let mut whole_at_us = vec![0_u64; charges.len()];
        for step in 0..60 {
            let mut items = items(&charges);
            let mut owed_us = vec![0; items.len()];
            for (item, owed_us) in items.iter_mut().zip(&mut owed_us) {
                item.cost = random.random_range(0..=item.quota.remaining(0, 0));
                if random.random_ratio(1, 5) {
                    *owed_us = random.random_range(0..=2 * item.quota.whole_us());
                }
            }
            let answer = shared.admit(side(), &items, &owed_us, None).await?;
            let now_us = answer.now_us;
            // As the script does it, told once more in the words of the model.
            for ((item, whole_at_us), owed_us) in items.iter().zip(&mut whole_at_us).zip(&owed_us) {
                let whole_us = item.quota.whole_us();
                let settled_us = (*whole_at_us).clamp(now_us, now_us + whole_us);
                *whole_at_us = (settled_us + owed_us).min(now_us + whole_us);
            }
            let judged = judge(&items, now_us, whole_at_us.iter().copied());
            let expected = if judged.is_ok() { Verdict::Admitted } else { Verdict::Over };
            if let Ok(charged) = judged {
                whole_at_us = charged;
            }
            assert_eq!((answer.verdict, &answer.whole_at_us), (expected, &whole_at_us), "step {step} of {history}");
            verdicts[usize::from(expected == Verdict::Admitted)] += 1;
            if random.random_ratio(1, 2) {
                let by_us = [3_600 * S, -3_600 * S, -300 * S, 5 * S, -30_000, -3][random.random_range(0..6)];
                move_all(&server, &limiter, &items, &mut whole_at_us, now_us, by_us).await?;
            }
        }
    }
    ensure!(verdicts.iter().all(|count| *count > 100), "histories that say little: {verdicts:?}");
    Ok(())
}

async fn move_all(
    server: &PrivateRedis,
    limiter: &Limiter,
    items: &[Item],
    whole_at_us: &mut [u64],
    now_us: u64,
    by_us: i64,
) -> Result<()> {
    let hash_tag = format!("limit-caller-{}", subject("tenant").hex());
    for (item, whole_at_us) in items.iter().zip(whole_at_us) {
        // One that is whole is not kept.
        if *whole_at_us <= now_us {
            *whole_at_us = 0;
            continue;
        }
        *whole_at_us = whole_at_us.saturating_add_signed(by_us);
        let key = redis_of(limiter).key(&hash_tag, &item.subject.hex());
        server.command(&["SET", &key, &whole_at_us.to_string()]).await?;
    }
    Ok(())
}
