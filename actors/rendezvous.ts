/**
 * Who should own a shard: rendezvous hashing (Thaler and Ravishankar, 1998). Every node computes the same from
 * the same set of nodes; when one comes or goes, only the shards that it wins or had move.
 */

/** The node of highest weight for a shard; undefined without nodes. */
export function rendezvous(shard: number, nodes: readonly string[]): string | undefined {
  let best: string | undefined;
  let most = -1;
  for (const node of nodes) {
    const weight = hash(`${node}/${shard}`);
    if (weight > most || (weight === most && best !== undefined && node < best)) {
      best = node;
      most = weight;
    }
  }
  return best;
}

/** FNV-1a with the finish of MurmurHash3, which its last bytes need: 32 bits. */
function hash(text: string): number {
  let bits = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) bits = Math.imul(bits ^ text.charCodeAt(at), 0x01000193);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
