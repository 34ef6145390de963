local answers = {}
for index = 1, #KEYS do
  answers[index] = publish(message(index))
end
return answers
