// A js-libp2p peer of one topic: node peer.mjs NETWORK TYPE [RELAY [KEYFILE]]
// With a relay's address it is reached through that relay only; with a key file it is in a private network.
// It takes commands and tells what happens as lines of JSON, and ends with its standard input:
//   {"dial": MULTIADDR}                                          dial a node
//   {"publish": [{"type", "text"}, {"type", "retracts": ID}]}    sign records (badly, if "forged"), publish them in a message
import './polyfill.mjs'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { bodyOf, decodeMessage, encode, encodeMessage, idOf, Refused } from './records.mjs'

const [network, type, relay, keyFile] = process.argv.slice(2)
const topic = `/espeer/1/${network}/${type}`
const key = await generateKeyPair('Ed25519')
const tell = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }))
const hex = bytes => Buffer.from(bytes).toString('hex')

const node = await createLibp2p({
  privateKey: key,
  addresses: { listen: [relay ? `${relay}/p2p-circuit` : '/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionProtector: keyFile ? preSharedKey({ psk: readFileSync(keyFile) }) : undefined,
  connectionManager: { reconnectRetries: 0 },
  services: {
    identify: identify(),
    pubsub: gossipsub({
      globalSignaturePolicy: 'StrictSign',
      fallbackToFloodsub: false,
      runOnLimitedConnection: true, // relayed ones: our relay says what a circuit may carry
      scoreParams: { IPColocationFactorWeight: 0 } // all peers share the one address of the loopback
    })
  }
})
const { pubsub } = node.services

node.addEventListener('peer:connect', ({ detail }) => tell('connected', { peer: detail.toString() }))
node.addEventListener('peer:disconnect', ({ detail }) => tell('disconnected', { peer: detail.toString() }))
node.addEventListener('peer:identify', ({ detail }) => tell('identified', {
  peer: detail.peerId.toString(),
  agent: detail.agentVersion,
  protocols: detail.protocols,
  listen: detail.listenAddrs.map(String)
}))
pubsub.addEventListener('subscription-change', ({ detail }) => tell('subscribed', {
  peer: detail.peerId.toString(),
  topics: pubsub.getTopics().filter(name => pubsub.getSubscribers(name).some(peer => peer.equals(detail.peerId)))
}))
pubsub.topicValidators.set(topic, (forwarder, message) => {
  const from = message.from.toString() // the publisher: it signed the message
  try {
    for (const { id, author, signature, sources, ...record } of decodeMessage(message.data, type)) {
      tell('received', { ...record, id: hex(id), author: hex(author), sources: sources.map(hex), from })
    }
    return 'accept'
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    tell('refused', { reason: error.message, from })
    return 'reject'
  }
})

function recordOf ({ retracts, forged, ...given }) {
  const common = { created: Date.now(), author: key.publicKey.raw, ...given }
  return retracts
    ? { kind: 'retraction', text: '', model: '', method: '', sources: [Buffer.from(retracts, 'hex')], ...common }
    : { kind: 'experience', model: 'js-libp2p', method: 'distilled', sources: [], ...common }
}

async function publish (wanted) {
  const records = wanted.map(recordOf)
  const encoded = await Promise.all(records.map((record, at) =>
    encode(record, id => key.sign(wanted[at].forged ? id.reverse() : id))))
  const { recipients } = await pubsub.publish(topic, encodeMessage(encoded))
  tell('published', { ids: records.map(record => hex(idOf(bodyOf(record)))), recipients: recipients.map(String) })
}

while (node.getMultiaddrs().length === 0) { // it has no slot at the relay yet
  await new Promise(resolve => node.addEventListener('self:peer:update', resolve, { once: true }))
}
pubsub.subscribe(topic)
tell('up', { peer: node.peerId.toString(), author: hex(key.publicKey.raw), address: node.getMultiaddrs()[0].toString() })
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.dial) await node.dial(multiaddr(command.dial)).catch(error => tell('unreachable', { reason: error.message }))
  if (command.publish) await publish(command.publish)
}
await node.stop()
process.exit(0)
