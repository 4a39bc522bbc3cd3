// A js-libp2p peer that speaks sync, but does not gossip: node sync.mjs NETWORK TYPE
// It takes commands and tells what happens as lines of JSON, and ends with its standard input:
//   {"hold": TEXT}        sign a record and hold it, for whoever pulls
//   {"pull": MULTIADDR}   get what a node has and we have not; tell it what we have and it has not
import './polyfill.mjs'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { decode, encode, pack, unpack } from './records.mjs'

const [network, type] = process.argv.slice(2)
const protocol = `/espeer/1/${network}/sync/2`
const key = await generateKeyPair('Ed25519')
const tell = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }))
const held = new Map() // by id in hexadecimal: { stamp, id, bytes }

function hold (bytes) {
  const { id, created } = decode(bytes)
  held.set(id.toString('hex'), { stamp: 2 ** 48 - 1 - created, id, bytes })
  return id.toString('hex')
}

// -- Negentropy V1, the least of it: where fingerprints differ all ids are told, so it is for some hundred records

const END = { stamp: Infinity, id: Buffer.alloc(0) }
const compare = (one, other) => one.stamp === other.stamp ? Buffer.compare(one.id, other.id) : one.stamp - other.stamp
const list = items => [...varint(items.length), ...items.flatMap(({ id }) => [...id])]
const varint = (number, more = 0) => // bitwise operators would keep 32 bits of it
  number < 128 ? [number + more] : [...varint(Math.floor(number / 128), 128), number % 128 + more]

function fingerprint (items) {
  const sum = items.reduce((sum, { id }) => sum + BigInt(`0x${Buffer.from(id).reverse().toString('hex')}`), 0n)
  const bytes = Buffer.from(BigInt.asUintN(256, sum).toString(16).padStart(64, '0'), 'hex').reverse()
  return createHash('sha256').update(bytes).update(Buffer.from(varint(items.length))).digest().subarray(0, 16)
}

// ranges: [bound, mode, payload], one after the other
function message (ranges) {
  const steps = ranges.map(([{ stamp }], at) => stamp === Infinity ? 0 : stamp - (at && ranges[at - 1][0].stamp) + 1)
  return Buffer.from([0x61, ...ranges.flatMap(([{ id }, mode, payload], at) =>
    [...varint(steps[at]), ...varint(id.length), ...id, mode, ...payload])])
}

// what one side says to a message of the other; the side that pulls gives found, for the ids in which the two sets differ
function answer (data, found) {
  const items = [...held.values()].sort(compare)
  const ranges = []
  let [at, stamp] = [1, 0]
  const take = size => data.subarray(at, at += size)
  const number = (value = 0) => data[at] < 128 ? value * 128 + data[at++] : number(value * 128 + data[at++] - 128)
  while (at < data.length) {
    const step = number()
    stamp = step === 0 ? Infinity : stamp + step - 1
    const bound = { stamp, id: take(number()) }
    const mode = number()
    const mine = items.splice(0, items.filter(item => compare(item, bound) < 0).length)
    let said = [bound, 0, []] // nothing
    if (mode === 1 && !take(16).equals(fingerprint(mine))) said = [bound, 2, list(mine)]
    if (mode === 2) {
      const theirs = new Set(Array.from({ length: number() }, () => take(32).toString('hex')))
      if (!found) said = [bound, 2, list(mine)]
      found?.need.push(...[...theirs].filter(id => !held.has(id)))
      found?.have.push(...mine.filter(({ id }) => !theirs.has(id.toString('hex'))))
    }
    ranges.push(said)
  }
  while (ranges.at(-1)?.[1] === 0) ranges.pop()
  return message(ranges)
}

// -- frames

function framed (stream) {
  const chunks = stream[Symbol.asyncIterator]()
  let pending = Buffer.alloc(0)
  async function take (size) {
    while (pending.length < size) pending = Buffer.concat([pending, (await chunks.next()).value.subarray()])
    const taken = pending.subarray(0, size)
    pending = pending.subarray(size)
    return taken
  }
  const receive = async () => unpack(await take((await take(4)).readUInt32BE()), true)
  const send = value => {
    const payload = pack(value)
    const size = Buffer.from([24, 16, 8, 0].map(shift => payload.length >> shift & 255))
    stream.send(Buffer.concat([size, payload]))
  }
  return { receive, send, close: () => stream.close() }
}

const node = await createLibp2p({
  privateKey: key,
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionManager: { reconnectRetries: 0 },
  services: { identify: identify() }
})

await node.handle(protocol, async stream => {
  const frames = framed(stream)
  for (;;) {
    const [question, about, data] = await frames.receive()
    const said = question === 'reconcile' && about === type ? answer(data) : Buffer.alloc(0)
    tell('asked', { question, about, told: said.length })
    if (question === 'done') return frames.close()
    if (question === 'reconcile') frames.send(about === type ? ['reconcile', said] : ['not-held'])
    if (question === 'get') {
      frames.send(['records', data.toString('hex').match(/.{64}/g).map(id => held.get(id).bytes)])
      frames.send(['end', Buffer.alloc(0)])
    }
  }
})

async function pull (address) {
  const frames = framed(await node.dialProtocol(multiaddr(address), protocol))
  const found = { need: [], have: [] }
  for (let next = message([[END, 2, list([...held.values()].sort(compare))]]); next.length > 1;) {
    frames.send(['reconcile', type, next])
    next = answer((await frames.receive())[1], found)
  }
  if (found.need.length > 0) frames.send(['get', type, Buffer.from(found.need.join(''), 'hex')])
  const ids = []
  while (ids.length < found.need.length) ids.push(...(await frames.receive())[1].map(hold))
  frames.send(['done', found.have.length > 0 ? [type] : []])
  await frames.close()
  tell('pulled', { ids, ahead: found.have.length })
}

const author = Buffer.from(key.publicKey.raw)
tell('up', { peer: node.peerId.toString(), author: author.toString('hex'), address: node.getMultiaddrs()[0].toString() })
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.hold) {
    const made = { author, created: Date.now(), kind: 'experience', method: 'distilled', model: 'js-libp2p' }
    tell('held', { id: hold(await encode({ ...made, sources: [], text: command.hold, type }, id => key.sign(id))) })
  }
  if (command.pull) await pull(command.pull)
}
await node.stop()
process.exit(0)
