// Four heads.
alias Word = vec4<u32>;
const LANES = vec4<u32>(0u, 1u, 2u, 3u);
fn lowest(keys: Word) -> u32 { return min(min(keys.x, keys.y), min(keys.z, keys.w)); }
