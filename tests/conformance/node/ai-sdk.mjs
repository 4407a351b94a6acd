// The Vercel AI SDK, by its provider for compatible servers and by its provider for OpenAI.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APICallError, generateObject, generateText, streamObject, streamText } from 'ai'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { z } from 'zod'

const baseURL = process.env.OPENAI_BASE_URL
const apiKey = process.env.OPENAI_API_KEY
const model = process.env.MODEL
const compatible = createOpenAICompatible({
  name: 'smc', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true,
})
const openai = createOpenAI({ baseURL, apiKey })
const providers = {
  'compatible chat': compatible.chatModel(model),
  'compatible completion': compatible.completionModel(model),
  'openai chat': openai.chat(model),
  'openai completion': openai.completion(model),
}
const prompt = 'Name a colour.'
const brief = { prompt, maxOutputTokens: 8, maxRetries: 0 }
const Person = z.object({ name: z.string(), age: z.number().int() })
const asked = { prompt: 'Ann is 7. Answer as JSON.', schema: Person, maxOutputTokens: 120, seed: 2, maxRetries: 0 }

for (const [name, from] of Object.entries(providers)) {
  test(`text: ${name}`, async () => {
    const { text, usage, finishReason, warnings } = await generateText({ model: from, ...brief, temperature: 0.7 })
    assert.ok(text.length > 0)
    assert.ok(usage.outputTokens > 0 && usage.outputTokens <= 8)
    assert.ok(['stop', 'length'].includes(finishReason))
    assert.deepEqual(warnings ?? [], [])
  })

  test(`streamed text: ${name}`, async () => {
    let failure = null
    const result = streamText({ model: from, ...brief, onError: ({ error }) => { failure = error } })
    let text = ''
    for await (const part of result.textStream) text += part
    assert.equal(failure, null)
    assert.ok(text.length > 0)
    assert.ok((await result.usage).outputTokens > 0)
    assert.ok(['stop', 'length'].includes(await result.finishReason))
  })
}

for (const name of ['compatible chat', 'openai chat']) {
  test(`an object: ${name}`, async () => {
    const { object } = await generateObject({ model: providers[name], ...asked })
    assert.equal(typeof object.name, 'string')
  })

  test(`a streamed object: ${name}`, async () => {
    const result = streamObject({ model: providers[name], ...asked })
    let last = null
    for await (const part of result.partialObjectStream) last = part
    assert.deepEqual(last, await result.object)
  })
}

test('fields of our own go through provider options', async () => {
  let sent = null
  const seen = createOpenAICompatible({
    name: 'smc', baseURL, apiKey,
    fetch: async (url, init) => { sent = JSON.parse(init.body); return fetch(url, init) },
  })
  const options = { smc: { smc: { preset: 'smc-reward', n_particles: 2 } } }
  const { response } = await generateText({ model: seen(model), ...brief, providerOptions: options })
  assert.deepEqual(sent.smc, options.smc.smc)
  assert.equal(response.body.smc.preset, 'smc-reward')
})

test('a preset is a model', async () => {
  const { response } = await generateText({ model: compatible(`${model}:best-of-n`), ...brief })
  assert.equal(response.body.smc.preset, 'best-of-n')
})

test('errors carry status and message', async () => {
  await assert.rejects(generateText({ model: compatible('gpt-9'), ...brief }), (error) =>
    APICallError.isInstance(error) && error.statusCode === 404 && !error.isRetryable && /gpt-9/.test(error.message))
  await assert.rejects(generateText({ model: compatible(model), ...brief, temperature: 3 }), (error) =>
    error.statusCode === 400 && /temperature/.test(error.message))
})
