// Two heads.
alias Word = vec2<u32>;
const LANES = vec2<u32>(0u, 1u);
fn lowest(keys: Word) -> u32 { return min(keys.x, keys.y); }
